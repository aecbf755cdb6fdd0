import { z } from "zod";
import { ID_PATTERN } from "#protocol/ids";
import { OrderState } from "#protocol/order";
import { SaleState, saleRecordSchema } from "#protocol/sale";

/** What the gateway's routes write and read, for the OpenAPI document: nothing reads by these while the gateway runs. */
export const idSchema = z.string().regex(ID_PATTERN);

export const purchaseKeySchema = z.string().regex(/^(?:[A-Za-z0-9_-]{1,64}|"[A-Za-z0-9_-]{1,64}")$/);

export const ticketSchema = z
  .string()
  .regex(/^[A-Za-z0-9_-]{59,200}$/)
  .describe("signed, expiring right of one buyer to buy in one sale");

export const orderIdSchema = z.string().regex(/^[0-9a-z]+-[0-9a-z]+-[0-9a-z]+-[0-9a-z]+$/);

/** http/problem.ts: purchaseBody, outcomeFields */
export const purchaseSchema = z.object({
  code: z.string(),
  orderId: orderIdSchema.optional(),
  units: z.int().min(1).optional(),
  reason: z.string().optional(),
});

/** http/problem.ts: outcomeFields of a standing */
export const standingSchema = purchaseSchema.extend({
  order: z
    .object({
      state: z.enum(OrderState).describe("others may be added"),
      payBy: z.iso.datetime().nullable().describe("until when it has to be paid; null if nothing is to be paid, or not by a time"),
    })
    .optional()
    .describe("with confirmed: what became of the order; absent if nobody could say in time. Up to a second behind"),
});

/** http/problem.ts: problem */
export const problemSchema = z
  .object({
    code: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    opensAt: z.iso.datetime().optional().describe("with not_open"),
    orderId: z.string().optional().describe("with rejected"),
    units: z.int().optional().describe("with rejected"),
    reason: z.string().optional().describe("with rejected"),
  })
  .describe("RFC 9457");

/** sales/known-sale.ts: the public part of a record */
export const saleSchema = saleRecordSchema.omit({ shards: true, version: true }).extend({
  // an archived one is shown as what it is to the public
  state: z.enum(SaleState).exclude([SaleState.archived]),
  payWithinMs: z
    .int()
    .min(0)
    .describe(saleRecordSchema.shape.payWithinMs.description ?? ""),
  soldOut: z.boolean().describe("nothing is left now; a unit can come back"),
});
