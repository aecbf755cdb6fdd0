import { formatOrderId, parseOrderId, type OrderId } from "#protocol/order-id";
import { PaymentDecision, type ChangeOrder, type OrderAddress, type OrderRecord, type PaidOrder, type PayOrder } from "#protocol/order";
import { RequestError, type Reply } from "#protocol/requests";
import { OrderEvent, Standing, standingOf } from "./machine.ts";
import type { KnownPayment, OrderKey, OrdersStore, OrdersTransaction, Payment } from "./orders-store.ts";

/** What a command did, for metrics: counted only once it is committed. */
export interface OrdersObserver {
  changed(change: OrderEvent | "reacquire", orders: number): void;
  /** `repeat`: it was reported before */
  paid(decision: PaymentDecision | "repeat"): void;
}

export interface OrdersPorts {
  readonly store: OrdersStore;
  readonly observer: OrdersObserver;
  /** tells the gateways that these orders have changed, after the commit; may get lost */
  readonly tell: (orders: readonly OrderId[]) => void;
}

const keyOf = ({ saleId, uid, orderId }: OrderAddress): OrderKey => {
  const id = parseOrderId(orderId);
  if (id === undefined) throw new Error(`${orderId} is not an order id`);
  return { saleId, uid, ...id };
};

/** A win is answered before its order is in Postgres, so a payment can be the first that is heard of it. */
const unknown = (order: OrderKey): Reply<never> => ({
  ok: false,
  code: RequestError.notFound,
  detail: `no order ${formatOrderId(order)} of ${order.uid} in ${order.saleId}, or it is not in Postgres yet: ask again`,
});

const conflict = (detail: string): Reply<never> => ({ ok: false, code: RequestError.conflict, detail });

/** Ends a transaction that must leave nothing behind. */
class UnknownOrder extends Error {}

export const readOrder = async ({ store }: OrdersPorts, address: OrderAddress): Promise<Reply<OrderRecord>> => {
  const order = keyOf(address);
  const value = await store.read(order);
  return value === undefined ? unknown(order) : { ok: true, value };
};

const decide = async (transaction: OrdersTransaction, order: OrderKey): Promise<PaymentDecision> => {
  if (await transaction.change(order, OrderEvent.pay)) return PaymentDecision.kept;
  const state = await transaction.lockState(order);
  if (state === undefined) throw new UnknownOrder();
  const isLate = standingOf(state, OrderEvent.pay) === Standing.needsUnits;
  return isLate && (await transaction.reacquire(order)) ? PaymentDecision.reacquired : PaymentDecision.refund;
};

const contradiction = ({ id, amountMinor }: Payment, known: Exclude<KnownPayment, { readonly is: "same" }>): string =>
  known.is === "of_another_order"
    ? `payment ${id} was reported for another order`
    : `payment ${id} was reported with the amount ${known.amountMinor}, now it is ${amountMinor}: what was decided first stands`;

/**
 * Money came in (DESIGN 9). The order keeps it, or it has to be paid back, and either is recorded in the transaction that
 * decides it; the same payment again hears the same,
 * and one that contradicts what was said of it before is a conflict that changes nothing.
 */
export const payOrder = async ({ store, observer, tell }: OrdersPorts, pay: PayOrder): Promise<Reply<PaidOrder>> => {
  const { paymentId, amountMinor, ...address } = pay;
  const payment: Payment = { id: paymentId, order: keyOf(address), amountMinor };
  const { order } = payment;
  const work = async (transaction: OrdersTransaction) => {
    const known = await transaction.record(payment);
    if (known !== undefined && known.is !== "same") return { refused: known };
    const decision = known?.decision ?? (await decide(transaction, order));
    if (known === undefined && decision !== PaymentDecision.refund) await transaction.decide(payment.id, decision);
    const record = await transaction.read(order);
    if (record === undefined) throw new UnknownOrder();
    return { decision, order: record, isRepeat: known !== undefined };
  };
  let done: Awaited<ReturnType<typeof work>>;
  try {
    done = await store.transaction(work);
  } catch (error) {
    if (error instanceof UnknownOrder) return unknown(order);
    throw error;
  }
  if ("refused" in done) return conflict(contradiction(payment, done.refused));
  const { decision, isRepeat } = done;
  observer.paid(isRepeat ? "repeat" : decision);
  if (!isRepeat && decision !== PaymentDecision.refund) {
    observer.changed(decision === PaymentDecision.kept ? OrderEvent.pay : "reacquire", 1);
    tell([order]);
  }
  return { ok: true, value: { decision, order: done.order } };
};

/** Cancels or refunds an order and gives its units back; said again it changes nothing. */
export const changeOrder = async ({ store, observer, tell }: OrdersPorts, request: ChangeOrder): Promise<Reply<OrderRecord>> => {
  const { change, ...address } = request;
  const order = keyOf(address);
  const { isChanged, record } = await store.transaction(async (transaction) => {
    const changed = await transaction.change(order, change);
    if (changed) await transaction.oweKept(order);
    return { isChanged: changed, record: await transaction.read(order) };
  });
  if (record === undefined) return unknown(order);
  if (isChanged) {
    observer.changed(change, 1);
    tell([order]);
  } else if (standingOf(record.state, change) !== Standing.done) return conflict(`order ${record.orderId} is ${record.state}`);
  return { ok: true, value: record };
};
