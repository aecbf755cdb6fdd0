/**
 * Every NATS name of ours. Only our own shard numbers go into subjects: a subject made of user input would let that
 * input inject protocol.
 */
export const LOG_STREAM = "orders";
export const LOG_SUBJECTS = "orders.*";
export const SALES_BUCKET = "sales";

export const logSubject = (shard: number): string => `orders.${shard}`;

/** Core NATS: a worker has applied entries (StatusEvent, status.ts). */
export const statusSubject = (shard: number): string => `doorbuster.status.${shard}`;
export const ALL_STATUS_SUBJECTS = "doorbuster.status.*";

/**
 * Core NATS: a buyer asked for units of a sale on this shard and there were too few (DryHint, hint.ts). A hint: a lost one
 * is made up for by the next buyer who asks.
 */
export const drySubject = (shard: number): string => `doorbuster.dry.${shard}`;
export const ALL_DRY_SUBJECTS = "doorbuster.dry.*";

/** Core NATS, no body: the shard's consumer was made anew, look for it now. A hint: a lost one costs only time. */
export const consumerHint = (shard: number): string => `doorbuster.consumer.${shard}`;

/** Core NATS: where an attempt to begin an epoch is (AttemptNews, shard-facts.ts). */
export const attemptSubject = (shard: number): string => `doorbuster.attempt.${shard}`;
export const ALL_ATTEMPT_SUBJECTS = "doorbuster.attempt.*";

/** Requests that workers answer, one of them each (queue group WORKERS); bodies in requests.ts. */
export const WORKERS = "workers";
export const Request = {
  row: "doorbuster.row",
  restore: "doorbuster.restore",
  soldOutFacts: "doorbuster.sold-out.facts",
  soldOutSet: "doorbuster.sold-out.set",
  soldOutFlags: "doorbuster.sold-out.flags",
  transferFacts: "doorbuster.transfer.facts",
  drainingShards: "doorbuster.transfer.draining",
  openSale: "doorbuster.sale.open",
  changeSale: "doorbuster.sale.change",
  addUnits: "doorbuster.sale.add-units",
  sales: "doorbuster.sale.list",
  order: "doorbuster.order.read",
  payOrder: "doorbuster.order.pay",
  changeOrder: "doorbuster.order.change",
  shards: "doorbuster.shards",
  changeShard: "doorbuster.shard.change",
} as const;
export type Request = (typeof Request)[keyof typeof Request];
