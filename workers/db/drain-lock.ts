import type { Sql } from "./database.ts";

/**
 * Whether a shard drains is read by whoever sends units to one, and must hold until that is committed: otherwise units could
 * still come to a shard that an operator was told is `drained`, and has stopped. Not the shard's row, because that is its lane's.
 */
const DRAIN_LOCK = 0x6462_0004;

/** First of all in a transaction that reads which shards drain and then sends units: no shard begins to drain before it ends. */
export const holdDraining = async (sql: Sql): Promise<void> => {
  await sql("SELECT pg_advisory_xact_lock_shared(?)", [DRAIN_LOCK]);
};

/** Last of all in a transaction that changes whether a shard drains: who read otherwise has committed, and all others wait. */
export const changeDraining = async (sql: Sql): Promise<void> => {
  await sql("SELECT pg_advisory_xact_lock(?)", [DRAIN_LOCK]);
};
