import type { OrdersPorts } from "./commands.ts";
import { OrderEvent } from "./machine.ts";

/** One statement of so many takes tens of milliseconds: a payment of one of these orders waits no longer. */
const ORDERS_A_BATCH = 500;

/**
 * Expires what was not paid in time. Any number of processes may do it at the same time: each order is taken by one.
 * @returns how many expired
 */
export const expireOrders = async ({ store, observer, tell }: OrdersPorts, batch = ORDERS_A_BATCH): Promise<number> => {
  let expired = 0;
  for (const saleId of await store.dueSales()) {
    for (let count = batch; count === batch; expired += count) {
      const orders = await store.expire(saleId, batch);
      count = orders.length;
      if (count === 0) break;
      observer.changed(OrderEvent.expire, count);
      tell(orders);
    }
  }
  return expired;
};
