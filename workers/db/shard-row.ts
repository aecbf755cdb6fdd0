import type { RestoreMode, ShardRow } from "#protocol/row";
import type { Row, Sql } from "./database.ts";

/** A row of `shards` as the protocol knows it. */
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

/** @throws if there is no such shard: it is not configured */
export const readShard = async (sql: Sql, shard: number): Promise<ShardRow> => {
  const { rows } = await sql("SELECT * FROM shards WHERE shard = ?", [shard]);
  if (rows[0] === undefined) throw new Error(`shard ${shard} has no row`);
  return readShardRow(rows[0]);
};
