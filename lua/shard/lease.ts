import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const leaseScript = loadScript("lease", import.meta.url);

export interface LeaseAnswer {
  readonly status: typeof Status.ok | typeof Status.notHolder;
}

/** Takes the lease if it is free, prolongs it if `token` holds it. Throws on a replica. */
export const acquireLease = async (
  redis: ScriptRedis,
  { shard, token, leaseMs }: { shard: number; token: string; leaseMs: number },
): Promise<LeaseAnswer> => ({
  status: (await leaseScript.run(redis, [shardKeys(shard).lease], [token, leaseMs])) as LeaseAnswer["status"],
});
