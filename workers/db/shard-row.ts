import type { InferEntity } from "@mikro-orm/core";
import type { RestoreMode, ShardRow } from "#protocol/row";
import type { EntityManager, Row } from "./database.ts";
import { Shard } from "./entities.ts";

/** A row of `shards` that an applier has read and locked with a statement of its own, as the protocol knows it. */
export const readShardRow = (row: Row): ShardRow => ({
  shard: Number(row["shard"]),
  epoch: Number(row["epoch"]),
  applied: Number(row["applied"]),
  attempt: row["attempt"] as string,
  mode: row["mode"] as RestoreMode,
  flagged: row["flagged"] as boolean,
  gap: row["gap_at"] === null ? null : { at: Number(row["gap_at"]), streamSeq: Number(row["gap_stream_seq"]) },
  wall: row["wall"] as boolean,
  halted: row["halted"] as string | null,
  draining: row["draining"] as boolean,
});

const rowOf = ({ gapAt, gapStreamSeq, ...shard }: InferEntity<typeof Shard>): ShardRow => ({
  shard: shard.shard,
  epoch: shard.epoch,
  applied: shard.applied,
  attempt: shard.attempt,
  mode: shard.mode,
  flagged: shard.flagged,
  gap: typeof gapAt === "number" && typeof gapStreamSeq === "number" ? { at: gapAt, streamSeq: gapStreamSeq } : null,
  wall: shard.wall,
  halted: shard.halted ?? null,
  draining: shard.draining,
});

/** The first `count` shards, those that are configured, in their order. */
export const readShards = async (em: EntityManager, count: number): Promise<readonly ShardRow[]> =>
  (await em.find(Shard, { shard: { $lt: count } }, { orderBy: { shard: "asc" }, disableIdentityMap: true })).map((shard) => rowOf(shard));

/** @throws if there is no such shard: it is not configured */
export const readShard = async (em: EntityManager, shard: number): Promise<ShardRow> => {
  const row = await em.findOne(Shard, { shard }, { disableIdentityMap: true });
  if (row === null) throw new Error(`shard ${shard} has no row`);
  return rowOf(row);
};
