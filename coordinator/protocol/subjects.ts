/**
 * The NATS names that are neither a request (requests/contract.ts) nor a publication (requests/publications.ts). Only our
 * own shard numbers go into subjects: a subject made of user input would let that input inject protocol.
 */
export const LOG_STREAM = "orders";
export const LOG_SUBJECTS = "orders.*";
export const SALES_BUCKET = "sales";

export const logSubject = (shard: number): string => `orders.${shard}`;

/** Core NATS, no body: the shard's consumer was made anew, look for it now. A hint: a lost one costs only time. */
export const consumerHint = (shard: number): string => `doorbuster.consumer.${shard}`;

/** The queue group of those who answer requests (requests/contract.ts): one of them each. */
export const WORKERS = "workers";
