import type { Position } from "#lua/core/position";
import { NO_POSITION, type Shard } from "./data.ts";

/** The latch (DESIGN 4.3): the epoch if this shard may change here and now, else 0. */
export const latch = ({ data, server, rules }: Shard): number => {
  const { open, epoch } = data;
  if (open === undefined || epoch === 0 || !server.isPrimary) return 0;
  if (rules.openExpires && open.untilMs <= server.nowMs()) return 0;
  if (open.epoch !== epoch || (rules.latchReplid && open.replicationId !== server.replicationId)) return 0;
  return epoch;
};

/** What a script that is not `reserve` goes by. */
export const stockLatch = (shard: Shard): number => (shard.rules.latchStock ? latch(shard) : shard.server.isPrimary ? shard.data.epoch : 0);

export const lastId = ({ data }: Shard): Position => data.last ?? NO_POSITION;

/** Seq up to which entries of the shard's epoch are in Postgres. */
export const settledUpTo = ({ data }: Shard): number => (data.applied.epoch === data.epoch ? data.applied.seq : 0);

/** Whether an entry is in Postgres (DESIGN 4.8). */
export const isSettled = (shard: Shard, epoch: number, seq: number): boolean =>
  epoch < shard.data.epoch || (epoch === shard.data.epoch && seq <= settledUpTo(shard));

/** XADD NOMKSTREAM `<epoch>-*`. @returns undefined without a stream; throws where Redis refuses an id that does not rise */
export const nextId = ({ data }: Shard): Position | undefined => {
  const { last, epoch } = data;
  if (last === undefined) return undefined;
  if (last.epoch > epoch) throw new Error("ERR The ID specified in XADD is equal or smaller than the target stream top item");
  return { epoch, seq: last.epoch === epoch ? last.seq + 1 : 0 };
};
