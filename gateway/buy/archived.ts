import { OrderState } from "#protocol/order";
import type { PurchaseOrder } from "#protocol/requests/purchase-orders";
import type { BatchOperation } from "./batcher.ts";
import { OutcomeCode, refusals, type Outcome } from "./outcome.ts";
import type { BuyPorts, PurchaseKey } from "./service-ports.ts";

/** A purchase of an archived sale that somebody asks about. */
export interface ArchivedPurchase extends PurchaseKey {
  /** what is answered if there is none: `closed` to who would buy, `none` to who asks */
  readonly otherwise: Outcome;
}

/** The answers that a purchase of an archived sale can get, by the workers. */
type Orders = readonly (PurchaseOrder | null | undefined)[];

/** The first answer again (P3): an order that ended binds its buyer, too. */
const outcomeOf = (order: PurchaseOrder | null | undefined, otherwise: Outcome): Outcome => {
  if (order === undefined) return refusals.tryAgain;
  if (order === null) return otherwise;
  const { orderId, units, state, reason } = order;
  if (state !== OrderState.rejected) return { code: OutcomeCode.confirmed, orderId, units, repeat: true };
  return { code: OutcomeCode.rejected, orderId, units, repeat: true, ...(reason === null ? {} : { reason }) };
};

/**
 * Look-ups of purchases of archived sales, of which Postgres knows all there is to know (DESIGN 7.6). Who is not answered knows
 * nothing: only Postgres may say that there is no order.
 */
export const archivedOperation = (purchaseOrders: BuyPorts["purchaseOrders"]): BatchOperation<ArchivedPurchase, Orders> => ({
  isReady: () => true,
  send: (saleId, purchases) =>
    purchaseOrders(
      saleId,
      purchases.map(({ uid, key }) => ({ uid, key })),
    ),
  deliver: (_saleId, orders, purchases, answers) => {
    for (const [i, answer] of answers.entries()) answer(outcomeOf(orders[i], (purchases[i] as ArchivedPurchase).otherwise));
  },
  unanswered: refusals.tryAgain,
  reset: () => undefined,
});
