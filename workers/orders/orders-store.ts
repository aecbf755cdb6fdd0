import type { OrderRecord, OrderState, PaymentDecision } from "#protocol/order";
import type { OrderId } from "#protocol/order-id";
import type { PurchaseOrder, PurchaseOrdersRequest } from "#protocol/requests/purchase-orders";
import type { OrderEvent } from "./machine.ts";

/** An order by its id, and by what its table is partitioned by. */
export interface OrderKey extends OrderId {
  readonly saleId: string;
  readonly uid: string;
}

export interface Payment {
  readonly id: string;
  readonly order: OrderKey;
  readonly amountMinor: number | undefined;
}

/** A payment that was reported before: the same again, or one that says something else, which changes nothing. */
export type KnownPayment =
  | { readonly is: "same"; readonly decision: PaymentDecision }
  | { readonly is: "of_another_order" }
  | { readonly is: "of_another_amount"; readonly amountMinor: number };

export interface OrdersTransaction {
  /**
   * Lets an event happen to an order: one conditional UPDATE, which also records the return of its units where the event
   * takes them from it.
   * @returns false if the order is not in a state that the event changes, or not there
   */
  change(order: OrderKey, event: OrderEvent): Promise<boolean>;
  /** The order's state, which stays until the end of the transaction; undefined if it is not there. */
  lockState(order: OrderKey): Promise<OrderState | undefined>;
  /**
   * Brings a closed order to life as paid, if the return of its units has not been offered to Redis: they are still
   * Postgres's, and the return is taken back.
   */
  reacquire(order: OrderKey): Promise<boolean>;
  /**
   * Records a payment as one to be refunded. A second one of the same id waits for the first. One without an amount says nothing
   * about it; an amount that is first said later is recorded then. @returns undefined if it is new
   */
  record(payment: Payment): Promise<KnownPayment | undefined>;
  decide(paymentId: string, decision: PaymentDecision): Promise<void>;
  /** The payment that the order has kept has to be paid back. */
  oweKept(order: OrderKey): Promise<void>;
  read(order: OrderKey): Promise<OrderRecord | undefined>;
}

export interface OrdersStore {
  /** The order as it is committed; undefined if it is not there. */
  read(order: OrderKey): Promise<OrderRecord | undefined>;
  /** Orders of a sale's purchases as they are committed, one for each in their order; null where there is none. */
  ofPurchases(request: PurchaseOrdersRequest): Promise<readonly (PurchaseOrder | null)[]>;
  /** Commits when `work` resolves, rolls back when it rejects. @throws also when the outcome is unknown: all of it can be repeated */
  transaction<T>(work: (transaction: OrdersTransaction) => Promise<T>): Promise<T>;
  /** Sales that have orders to expire. */
  dueSales(): Promise<readonly string[]>;
  /**
   * Expires at most `limit` orders of a sale that are due and that nobody else is changing now.
   * @returns those
   */
  expire(saleId: string, limit: number): Promise<readonly OrderId[]>;
}
