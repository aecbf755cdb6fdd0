import { messageKey } from "../core/keys.ts";
import { thereAlready, type ThereAlready } from "./message-fields.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageYieldScript = loadScript("message-yield", import.meta.url);

/** Gives up a message's place on a shard for one by a list of `count` shards, unless it is there already. */
export const yieldMessage = async (
  redis: ScriptRedis,
  { shard, gid, count, holdMs }: { readonly shard: number; readonly gid: string; readonly count: number; readonly holdMs: number },
): Promise<{ readonly status: "ok" } | ThereAlready> => {
  const reply = (await messageYieldScript.run(redis, [messageKey(shard, gid)], [count, holdMs])) as 0 | string[];
  return reply === 0 ? { status: "ok" } : thereAlready(reply);
};
