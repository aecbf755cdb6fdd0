import { shardKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";
import type { LeaseAnswer } from "./lease.ts";

export const releaseScript = loadScript("release", import.meta.url);

/** Gives the lease up if `token` holds it. Throws on a replica. */
export const releaseLease = async (redis: ScriptRedis, { shard, token }: { shard: number; token: string }): Promise<LeaseAnswer> => ({
  status: (await releaseScript.run(redis, [shardKeys(shard).lease], [token])) as LeaseAnswer["status"],
});
