import { z } from "zod";
import { parseOrderId } from "./order-id.ts";

/**
 * Sent on core NATS after a worker committed (or skipped a repeat): everything of `epoch` up to `applied` is in
 * Postgres. A convenience: a lost event is made up for by the next one, or by asking.
 */
export const statusEventSchema = z.object({
  shard: z.int().min(0),
  epoch: z.int().min(1),
  applied: z.int().min(0),
  /** what was applied now: [seq, saleId, packed purchases]; empty for a skipped repeat */
  orders: z.array(z.tuple([z.int().min(1), z.string(), z.string()])),
  /** order ids that Postgres refused, with the reason */
  rejected: z.array(z.tuple([z.string(), z.string()])),
});
export type StatusEvent = Readonly<z.infer<typeof statusEventSchema>>;

/**
 * Sent on core NATS after a worker committed that orders came into another state than the one in which they were stored: paid, expired,
 * cancelled, refunded. Which one, says whoever is asked: events of one order may overtake each other, or get lost.
 */
export const ordersChangedSchema = z.object({
  /** order ids of one shard */
  orders: z.array(z.string()),
});

/** How far Postgres is, without what was applied. */
export const appliedEventSchema = statusEventSchema.pick({ shard: true, epoch: true, applied: true });

/**
 * The same as several events, for a broker that does not take it as one: each entry with the refusals that are its own, and
 * then how far Postgres is. Each of them is true by itself; refusals of earlier entries are left to who asks.
 */
export const eventsByEntry = (event: StatusEvent): readonly StatusEvent[] => [
  ...event.orders.map((order) => ({
    ...event,
    applied: order[0],
    orders: [order],
    rejected: event.rejected.filter(([orderId]) => parseOrderId(orderId)?.seq === order[0]),
  })),
  { ...event, orders: [], rejected: [] },
];
