import type { NatsConnection } from "nats";
import { askValue } from "#program/requests/ask";
import { requests } from "#protocol/requests/contract";
import type { BuyPorts } from "../buy/service-ports.ts";

/** A buyer waits for it. */
const WITHIN_MS = 1_000;

/** The orders of purchases, through a worker. @throws if none answers in time, or with an error */
export const archivedOrders =
  (nats: NatsConnection): BuyPorts["purchaseOrders"] =>
  (saleId, purchases) =>
    askValue(nats, requests.purchaseOrders, { saleId, purchases: [...purchases] }, WITHIN_MS);
