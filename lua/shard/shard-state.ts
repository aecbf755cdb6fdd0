import { shardKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const shardStateScript = loadScript("shard-state", import.meta.url);

export interface ShardState {
  /** Redis's copy of the epoch; 0 if it has none */
  readonly epoch: number;
  /** what the latch holds, believed or not; null if it is not there, expired or unreadable */
  readonly open: { readonly epoch: number; readonly replicationId: string } | null;
  /** whether `reserve` would sell here and now */
  readonly isOpen: boolean;
  /** this server's own */
  readonly replicationId: string;
  readonly isPrimary: boolean;
  /** nonce of the running or last attempt; empty if none */
  readonly attempt: string;
  /** `0-0` if there is none */
  readonly applied: string;
  /** last id ever given in the outbox; `0-0` if there is no outbox */
  readonly last: string;
  readonly outboxLength: number;
  /** empty if nobody holds the lease */
  readonly leaseToken: string;
  /** ms since 1970 by the server's clock */
  readonly nowMs: number;
}

type Reply = [string, string, number, string, number, string, string, string, number, string, number];

const OPEN = /^(\d+) ([0-9a-f]+)$/;

/** Everything the lease holder looks at, in one consistent reading. Works on a replica too. */
export const shardState = async (redis: ScriptRedis, { shard }: { shard: number }): Promise<ShardState> => {
  const keys = shardKeys(shard);
  const reply = await shardStateScript.run(redis, [keys.open, keys.epoch, keys.attempt, keys.applied, keys.lease, keys.outbox], []);
  const [epoch, open, isOpen, replicationId, isPrimary, attempt, applied, last, outboxLength, leaseToken, nowMs] = reply as Reply;
  const held = OPEN.exec(open);
  return {
    epoch: Number(epoch),
    open: held === null ? null : { epoch: Number(held[1]), replicationId: held[2] as string },
    isOpen: isOpen === 1,
    replicationId,
    isPrimary: isPrimary === 1,
    attempt,
    applied,
    last,
    outboxLength,
    leaseToken,
    nowMs,
  };
};
