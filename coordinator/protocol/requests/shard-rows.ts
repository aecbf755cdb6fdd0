import { z } from "zod";
import { ID_PATTERN } from "../ids.ts";
import { RestoreMode, type ShardRow } from "../row.ts";

/** What a coordinator asks about a shard's row in Postgres. */
export const rowRequestSchema = z.object({ shard: z.int().min(0) });
export const shardRowSchema = z.object({
  shard: z.int().min(0),
  epoch: z.int().min(0),
  applied: z.int().min(0),
  attempt: z.string(),
  /** not read as something else if it is unknown: an epoch rests on it */
  mode: z.enum(RestoreMode),
  flagged: z.boolean(),
  gap: z.object({ at: z.int().min(0), streamSeq: z.int().min(0) }).nullable(),
  wall: z.boolean(),
  halted: z.string().nullable(),
  draining: z.boolean(),
}) satisfies z.ZodType<ShardRow>;

/** The row, and beside it which of these sales are archived. */
export const archivedRequestSchema = rowRequestSchema.extend({ sales: z.array(z.string().regex(ID_PATTERN)) });
/** `archived` was read after the row. */
export const rowAndArchivedSchema = z.object({ row: shardRowSchema, archived: z.array(z.string()) });

/** Asks a worker to write the shard's keys anew from Postgres. */
export const restoreRequestSchema = z.object({
  shard: z.int().min(0),
  epoch: z.int().min(1),
  attempt: z.string().regex(ID_PATTERN),
  /** replication id of the server that was closed: the last step works only there */
  replicationId: z.string(),
});
export type RestoreRequest = Readonly<z.infer<typeof restoreRequestSchema>>;

/** One a chunk, the last with `done` true. */
export const restoreProgressSchema = z.object({
  orders: z.int().min(0),
  /** units of all live orders that there are to restore: as many as orders, or more; fewer where orders have ended */
  ofUnits: z.int().min(0),
  done: z.boolean(),
});
export type RestoreProgress = Readonly<z.infer<typeof restoreProgressSchema>>;
