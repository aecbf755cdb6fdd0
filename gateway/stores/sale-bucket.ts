import type { NatsConnection } from "nats";
import { followBucket } from "#program/kv-follower";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import { SALES_BUCKET } from "#protocol/subjects";
import { readSale, type SaleBook } from "../sales/book.ts";

export interface BucketOptions {
  readonly nats: NatsConnection;
  readonly book: SaleBook;
  readonly clock: Clock;
  readonly log: Log;
  readonly stop: AbortSignal;
  /** number of shards of this installation */
  readonly shards: number;
  /** called when everything that was in the bucket at the start of a watch is in the book */
  readonly onLoaded: () => void;
}

/**
 * Keeps the book as the bucket `sales` says (DESIGN 7.5) until `stop`. A bucket that is gone or comes back empty takes no
 * sale out of the book: Redis judges, and the worker fills the bucket again.
 */
export const watchBucket = ({ nats, book, clock, log, stop, shards, onLoaded }: BucketOptions): Promise<void> =>
  followBucket({
    nats,
    bucket: SALES_BUCKET,
    clock,
    stop,
    put: (key, value, revision) => {
      const sale = readSale(key, value, shards);
      if (typeof sale === "string") log.error({ saleId: key, revision, problem: sale }, "a sale's record cannot be read: it is ignored");
      else book.put(sale);
    },
    remove: (key) => book.remove(key),
    loaded: onLoaded,
    fault: (error) => log.warn({ err: error }, "the watch of the sales ended, trying again"),
  });
