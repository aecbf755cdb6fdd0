import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const settleScript = loadScript("settle", import.meta.url);

export interface Settle {
  readonly shard: number;
  readonly epoch: number;
  /** seq of the last entry that Postgres has applied */
  readonly applied: number;
}

export interface SettleAnswer {
  readonly status: typeof Status.ok | typeof Status.stale | typeof Status.foreign;
}

/** Raises the shard's copy of `applied` and drops the entries up to it. Safe to repeat and to lose. Throws on a replica. */
export const settle = async (redis: ScriptRedis, { shard, epoch, applied }: Settle): Promise<SettleAnswer> => {
  const keys = shardKeys(shard);
  return {
    status: (await settleScript.run(redis, [keys.open, keys.epoch, keys.applied, keys.outbox], [epoch, applied])) as SettleAnswer["status"],
  };
};
