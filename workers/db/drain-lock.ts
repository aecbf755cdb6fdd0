import type { Sql } from "./database.ts";

/**
 * Whether a shard drains is read by whoever sends units to one, and must hold until that is committed: otherwise units could
 * still come to a shard that an operator saw `drained`, and has stopped. Not the shard's row, because that is its applier's.
 */
const DRAIN_LOCK = 0x6462_0004;

/**
 * For a transaction that sends units, before it reads which shards drain: none begins to before it ends. Who waits for this
 * has at most rows of his own shard, which nobody who has it waits for.
 */
export const holdDraining = async (sql: Sql): Promise<void> => {
  await sql("SELECT pg_advisory_xact_lock_shared(?)", [DRAIN_LOCK]);
};

/** Last of all in a transaction that changes whether a shard drains: who read otherwise has committed, and all others wait. */
export const changeDraining = async (sql: Sql): Promise<void> => {
  await sql("SELECT pg_advisory_xact_lock(?)", [DRAIN_LOCK]);
};
