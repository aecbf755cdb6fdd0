import { LoadStrategy } from "@mikro-orm/core";
import type { OrderRecord } from "#protocol/order";
import { formatOrderId } from "#protocol/order-id";
import type { EntityManager } from "../db/database.ts";
import { Order } from "../db/entities.ts";
import type { OrderKey } from "./orders-store.ts";

/** What Postgres holds of one order. */
interface OrderFacts extends Pick<OrderRecord, "units" | "state" | "reservedAtMs" | "changedAtMs" | "payments"> {
  /** ms since 1970, by Postgres's clock */
  readonly storedAtMs: number;
  /** of its sale; 0: its orders do not expire */
  readonly payWithinMs: number;
}

export const orderRecord = ({ saleId, uid, ...id }: OrderKey, { storedAtMs, payWithinMs, ...facts }: OrderFacts): OrderRecord => ({
  saleId,
  uid,
  orderId: formatOrderId(id),
  ...facts,
  payByMs: payWithinMs === 0 ? null : storedAtMs + payWithinMs,
});

/** An order, its sale and its payments by one statement: of one moment, whatever others commit. */
export const readOrderRecord = async (em: EntityManager, key: OrderKey): Promise<OrderRecord | undefined> => {
  const { saleId, uid, shard, epoch, seq, index } = key;
  const order = await em.findOne(
    Order,
    { sale: saleId, uid, shard, epoch, seq, idx: index },
    {
      populate: ["sale", "payments"],
      strategy: LoadStrategy.JOINED,
      orderBy: { payments: { createdAt: "asc", id: "asc" } },
    },
  );
  if (order === null) return undefined;
  return orderRecord(key, {
    units: order.units,
    state: order.state,
    reservedAtMs: order.reservedAtMs,
    storedAtMs: order.createdAt.getTime(),
    payWithinMs: order.sale.payWithinMs,
    changedAtMs: order.changedAt?.getTime() ?? null,
    payments: order.payments.map(({ id, amountMinor, decision, told }) => ({
      paymentId: id,
      amountMinor: amountMinor ?? null,
      decision,
      told,
    })),
  });
};
