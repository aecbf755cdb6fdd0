import type { NatsConnection } from "nats";
import type { Log } from "#program/log";
import { askValue } from "#program/requests/ask";
import { hear } from "#program/requests/publish";
import { requests } from "#protocol/requests/contract";
import { publications } from "#protocol/requests/publications";
import type { OrderListener, OrderStore } from "../buy/service-ports.ts";

/** A buyer whose purchase is known waits for it: what comes later is left out of his answer. */
const WITHIN_MS = 300;

/** Orders in Postgres, through a worker. */
export const orderStore = (nats: NatsConnection): OrderStore => ({
  ofPurchases: (saleId, purchases) => askValue(nats, requests.purchaseOrders, { saleId, purchases: [...purchases] }, WITHIN_MS),
});

/** What workers say when orders have changed. @returns ends it */
export const subscribeOrders = (nats: NatsConnection, log: Log, listener: OrderListener): (() => void) => {
  const subscription = hear(nats, publications.ordersChanged, {
    isNeeded: () => listener.isNeeded(),
    heard: ({ orders }) => listener.onChanged(orders),
    fault: (error, subject) => log.warn({ err: error, subject }, "an event about orders cannot be read"),
  });
  return () => subscription.unsubscribe();
};
