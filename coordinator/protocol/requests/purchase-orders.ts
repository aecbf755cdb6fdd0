import { z } from "zod";
import { MOST_PURCHASES } from "#lua/stock/reserve";
import { ID_PATTERN } from "../ids.ts";
import { OrderState } from "../order.ts";
import { ifKnown } from "../unknown.ts";

const id = z.string().regex(ID_PATTERN);

/** Purchases of one sale, as many as a Redis is asked about at once. */
export const purchaseOrdersRequestSchema = z.object({
  saleId: id,
  purchases: z
    .array(
      z.object({
        uid: id,
        /** the buyer's Idempotency-Key; empty by default, and where the sale's limit is 1 */
        key: z.union([id, z.literal("")]),
      }),
    )
    .min(1)
    .max(MOST_PURCHASES),
});
export type PurchaseOrdersRequest = Readonly<z.infer<typeof purchaseOrdersRequestSchema>>;

/** The order of one purchase, as Postgres has it. */
const purchaseOrderSchema = z.object({
  orderId: z.string(),
  units: z.int().min(1),
  /** left out if it is one of a later version: none may be believed in its place, but there is an order, and it binds its buyer */
  state: ifKnown(OrderState),
  /** until when it has to be paid, ms since 1970; null if nothing is to be paid, or not by a time */
  payByMs: z.int().min(0).nullable(),
  /** why it was refused, where it is rejected; null otherwise */
  reason: z.string().nullable(),
});
export type PurchaseOrder = Readonly<z.infer<typeof purchaseOrderSchema>>;

/**
 * One for each purchase, in their order; null where Postgres has none: not yet, or never. One that cannot be read is undefined: there is an
 * order, and nothing may be said of it.
 */
export const purchaseOrdersSchema = z.array(purchaseOrderSchema.nullable().optional().catch(undefined));
