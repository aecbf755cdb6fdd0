import { messageKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messagePullScript = loadScript("message-pull", import.meta.url);

/** Makes messages due now that are due later than `laterThanMs` from now. At most 1,000 a call. */
export const pullMessages = async (
  redis: ScriptRedis,
  { shard, laterThanMs, limit }: { shard: number; laterThanMs: number; limit: number },
): Promise<{ readonly pulled: number; readonly left: number }> => {
  const [pulled, left] = (await messagePullScript.run(redis, [messageKeys(shard).due], [laterThanMs, limit])) as [number, number];
  return { pulled, left };
};
