import { z } from "zod";
import { ID_PATTERN } from "./ids.ts";
import { RestoreMode, type ShardRow } from "./row.ts";
import { SaleState } from "./sale.ts";

/**
 * Bodies of the requests that workers answer (subjects.ts, `Request`), as JSON. Every answer is
 * `{ok: true, value}` or `{ok: false, code, detail}`.
 */
const id = z.string().regex(ID_PATTERN);

export const RequestError = {
  badRequest: "bad_request",
  notFound: "not_found",
  conflict: "conflict",
  /** the facts changed since they were read, or another attempt took over */
  overtaken: "overtaken",
  /** a store did not answer; the outcome may be unknown, all requests can be repeated */
  unavailable: "unavailable",
} as const;
export type RequestError = (typeof RequestError)[keyof typeof RequestError];

export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: RequestError; readonly detail: string };

export const answerSchema = <T extends z.ZodType>(
  value: T,
): z.ZodUnion<
  [
    z.ZodObject<{ ok: z.ZodLiteral<true>; value: T }>,
    z.ZodObject<{ ok: z.ZodLiteral<false>; code: z.ZodEnum<typeof RequestError>; detail: z.ZodString }>,
  ]
> =>
  z.union([z.object({ ok: z.literal(true), value }), z.object({ ok: z.literal(false), code: z.enum(RequestError), detail: z.string() })]);

/** Request.row: {shard} -> ShardRow, read from the primary at the time of asking. */
export const rowRequestSchema = z.strictObject({ shard: z.int().min(0) });
export const shardRowSchema: z.ZodType<ShardRow> = z.strictObject({
  shard: z.int().min(0),
  epoch: z.int().min(0),
  applied: z.int().min(0),
  attempt: z.string(),
  mode: z.enum(RestoreMode),
  flagged: z.boolean(),
  gap: z.strictObject({ at: z.int().min(0), streamSeq: z.int().min(0) }).nullable(),
  wall: z.boolean(),
  halted: z.string().nullable(),
  draining: z.boolean(),
});

/**
 * Request.restore: asks a worker to write the shard's keys anew from Postgres. The worker answers several times on the
 * reply subject: one RestoreProgress a chunk, the last with `done` true; an error ends it.
 */
export const restoreRequestSchema = z.strictObject({
  shard: z.int().min(0),
  epoch: z.int().min(1),
  attempt: id,
  /** replication id of the server that was closed: the last step works only there */
  replicationId: z.string(),
});
export type RestoreRequest = Readonly<z.infer<typeof restoreRequestSchema>>;
export const restoreProgressSchema = z.strictObject({
  orders: z.int().min(0),
  /** units of all live orders that there are to restore: as many as orders, or more; fewer where orders have ended */
  ofUnits: z.int().min(0),
  done: z.boolean(),
});
export type RestoreProgress = Readonly<z.infer<typeof restoreProgressSchema>>;

/** Request.soldOutFacts: {saleId} -> what Postgres knows for DESIGN 7.4. */
export const soldOutFactsRequestSchema = z.strictObject({ saleId: id });
export const soldOutFactsSchema = z.strictObject({
  returnsSeq: z.int().min(0),
  sentGrants: z.int().min(0),
  soldOut: z.boolean(),
  /** [shard, epoch] of each shard of the sale, read in the same moment */
  epochs: z.array(z.tuple([z.int().min(0), z.int().min(0)])),
  /** shards of the sale that have an order for every unit of their quota, in the same moment too */
  full: z.array(z.int().min(0)),
});
export type SoldOutFacts = Readonly<z.infer<typeof soldOutFactsSchema>>;

/** Request.soldOutSet: {saleId, returnsSeq} -> {}; `overtaken` if returns_seq moved on. */
export const soldOutSetRequestSchema = z.strictObject({ saleId: id, returnsSeq: z.int().min(0) });

/** Request.soldOutFlags: {} -> SoldOutFlag[], read after the request came in. */
export const soldOutFlagsSchema = z.array(z.strictObject({ saleId: z.string(), version: z.int().min(0) }));

/** Request.transferFacts: {saleId} -> what Postgres knows of each shard that the sale is dealt to, for moving its units. */
export const transferFactsRequestSchema = z.strictObject({ saleId: id });
export const transferFactsSchema = z.array(
  z.strictObject({
    shard: z.int().min(0),
    /** units of its live orders */
    soldUnits: z.int().min(0),
    /** units of grants that are recorded and not known to have arrived */
    sentUnits: z.int().min(0),
    isDraining: z.boolean(),
    /** units of the last transfer to it, and how long ago it was recorded; 0 and null if none, or if stock was added since */
    receivedUnits: z.int().min(0),
    receivedAgoMs: z.int().min(0).nullable(),
  }),
);
export type TransferFacts = Readonly<z.infer<typeof transferFactsSchema>>;

/** Request.drainingShards: {} -> numbers of the shards that are to be emptied. */
export const drainingShardsSchema = z.array(z.int().min(0));

/** Request.openSale: OpenSale -> SaleRecord; the same id with the same definition again is a repeat, another is `conflict`. */
/** Request.sales: {} -> SaleRecord[] */

/** Request.changeSale: pause, resume or close. -> SaleRecord */
export const changeSaleSchema = z.strictObject({ id, state: z.enum(SaleState) });
export type ChangeSale = Readonly<z.infer<typeof changeSaleSchema>>;

/** Request.addUnits: more stock, once per grant id. -> SaleRecord */
export const addUnitsSchema = z.strictObject({ saleId: id, grantId: id, units: z.int().min(1).max(1_000_000_000) });
export type AddUnits = Readonly<z.infer<typeof addUnitsSchema>>;
