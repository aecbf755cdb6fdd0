import { z } from "zod";
import { ID_PATTERN } from "./ids.ts";
import { parseOrderId } from "./order-id.ts";
import { shownAsIs } from "./unknown.ts";

/** The life of an order (DESIGN 9). All but `rejected` bind their buyer for good. */
export const OrderState = {
  pendingPayment: "pending_payment",
  paid: "paid",
  /** not paid in time; its units are given back, as are those of the next two */
  expired: "expired",
  cancelled: "cancelled",
  refunded: "refunded",
  /** refused by a constraint; never had units */
  rejected: "rejected",
} as const;
export type OrderState = (typeof OrderState)[keyof typeof OrderState];

/** What was decided about money that came in. */
export const PaymentDecision = {
  /** it paid the order */
  kept: "kept",
  /** it came late, and the order lives again: its units had not left Postgres yet */
  reacquired: "reacquired",
  /** it has to be paid back: the order is closed, or another payment paid it */
  refund: "refund",
} as const;
export type PaymentDecision = (typeof PaymentDecision)[keyof typeof PaymentDecision];

const id = z.string().regex(ID_PATTERN);

/**
 * Which order is meant. The id alone would do, but `orders` is partitioned by sale and buyer: with both it is one look into
 * an index that is there anyway, and the table that takes every win needs no other.
 */
export const orderAddressSchema = z.strictObject({
  saleId: id,
  uid: id,
  orderId: z
    .string()
    .refine((text) => parseOrderId(text) !== undefined, { message: "not an order id" })
    .describe("as the purchase was answered"),
});
export type OrderAddress = Readonly<z.infer<typeof orderAddressSchema>>;

/** An order as Postgres has it. */
export const orderRecordSchema = z.object({
  saleId: z.string(),
  uid: z.string(),
  orderId: z.string(),
  units: z.int().min(1),
  state: shownAsIs(OrderState),
  reservedAtMs: z.int().min(0),
  payByMs: z.int().min(0).nullable().describe("from then on it may expire, counted from when it was stored; null if it does not"),
  changedAtMs: z.int().min(0).nullable().describe("when it came into its state; null if it never changed"),
  payments: z
    .array(
      z.object({
        paymentId: z.string(),
        amountMinor: z.int().min(0).nullable(),
        decision: shownAsIs(PaymentDecision),
        /** `told` is its name on the wire and in Postgres */
        told: z.int().min(1).describe("times that the payment service reported it"),
      }),
    )
    .describe("the oldest first"),
});
export type OrderRecord = Readonly<z.infer<typeof orderRecordSchema>>;

/** Money came in. */
export const payOrderSchema = orderAddressSchema.extend({
  paymentId: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/)
    .describe("the payment service's own id of the payment: the same one is decided once"),
  amountMinor: z
    .int()
    .min(0)
    .optional()
    .describe("recorded, not judged; the same payment with another amount is a conflict, without one it says nothing about it"),
});
export type PayOrder = Readonly<z.infer<typeof payOrderSchema>>;
export const paidOrderSchema = z.object({
  decision: z
    .enum(PaymentDecision)
    .describe("kept: it paid the order; reacquired: it came late, and the order lives again; refund: pay it back"),
  order: orderRecordSchema,
});
export type PaidOrder = Readonly<z.infer<typeof paidOrderSchema>>;

/** What can be asked of one order ; said again it changes nothing. */
export const OrderChange = {
  /** gives up an order that is not paid */
  cancel: "cancel",
  /** takes a paid order back: its kept payment is to be paid back, its units are sold again */
  refund: "refund",
} as const;
export type OrderChange = (typeof OrderChange)[keyof typeof OrderChange];

export const changeOrderSchema = orderAddressSchema.extend({ change: z.enum(OrderChange) });
export type ChangeOrder = Readonly<z.infer<typeof changeOrderSchema>>;
