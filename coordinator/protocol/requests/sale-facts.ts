import { z } from "zod";
import { ID_PATTERN } from "../ids.ts";

/** What is asked about one sale. */
export const saleFactsRequestSchema = z.object({ saleId: z.string().regex(ID_PATTERN) });

/** What Postgres knows for the sold-out decision (DESIGN 7.4). */
export const soldOutFactsSchema = z.object({
  returnsSeq: z.int().min(0),
  sentGrants: z.int().min(0),
  soldOut: z.boolean(),
  /** [shard, epoch] of each shard of the sale, read in the same moment */
  epochs: z.array(z.tuple([z.int().min(0), z.int().min(0)])),
  /** shards of the sale that have an order for every unit of their quota, in the same moment too */
  full: z.array(z.int().min(0)),
});
export type SoldOutFacts = Readonly<z.infer<typeof soldOutFactsSchema>>;

export const soldOutSetRequestSchema = z.object({ saleId: z.string().regex(ID_PATTERN), returnsSeq: z.int().min(0) });
export const soldOutFlagsSchema = z.array(z.object({ saleId: z.string(), version: z.int().min(0) }));

/** What Postgres knows of each shard that a sale is dealt to, for moving its units. */
export const transferFactsSchema = z.array(
  z.object({
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

/** Numbers of the shards that are to be emptied. */
export const drainingShardsSchema = z.array(z.int().min(0));
