import type { TicketRequests } from "../load/order.ts";

let series = 0;

/** Purchases of buyers who never bought before. @param keys as DOORBUSTER_TICKET_KEYS takes them */
export const newBuyers = (keys: string, saleId: string, count: number, headers = "", each = 1): TicketRequests => {
  series += 1;
  return { kind: "tickets", keys, saleId, prefix: `b${series}-`, count, each, headers };
};
