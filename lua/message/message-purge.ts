import { messageKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messagePurgeScript = loadScript("message-purge", import.meta.url);

/** Takes expired messages out of the list. At most 1,000 a call. */
export const purgeMessages = async (redis: ScriptRedis, { shard, limit }: { shard: number; limit: number }): Promise<number> => {
  const keys = messageKeys(shard);
  return (await messagePurgeScript.run(redis, [keys.finished, keys.messages], [limit])) as number;
};
