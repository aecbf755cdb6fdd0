import { NatsError, type KV, type KvEntry, type NatsConnection } from "nats";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import { SALES_BUCKET } from "#protocol/subjects";
import { readSale, type SaleBook } from "../sales/book.ts";

/** How often the watch is compared with the bucket itself. */
const LOOK_MS = 1_000;
/** JetStream's answer about a stream that is not there. */
const NOT_FOUND = 404;
/** A revision that the watch has not shown after this many looks will not come. */
const PATIENCE_LOOKS = 2;

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

/** Which bucket this is and how far it goes; undefined if NATS does not answer or there is no bucket. */
const look = async (nats: NatsConnection): Promise<{ readonly created: string; readonly last: number } | "missing" | "away"> => {
  try {
    const manager = await nats.jetstreamManager({ checkAPI: false });
    const info = await manager.streams.info(`KV_${SALES_BUCKET}`);
    return { created: info.created, last: info.state.last_seq };
  } catch (error) {
    return error instanceof NatsError && error.api_error?.code === NOT_FOUND ? "missing" : "away";
  }
};

/** One watch from the first entry on; resolves when it has to be made anew, or on stop. */
const watchOnce = async (options: BucketOptions): Promise<void> => {
  const { nats, book, clock, log, stop } = options;
  const begun = await look(nats);
  if (typeof begun === "string") return;
  const bucket: KV = await nats.jetstream().views.kv(SALES_BUCKET, { bindOnly: true });
  let seen = 0;
  const entries = await bucket.watch({ initializedFn: options.onLoaded });
  const take = (entry: KvEntry): void => {
    seen = entry.revision;
    if (entry.operation !== "PUT") {
      book.remove(entry.key);
      return;
    }
    const sale = readSale(entry.key, entry.value, options.shards);
    if (typeof sale === "string") log.error({ sale: entry.key, revision: entry.revision, problem: sale }, "a sale's record is ignored");
    else book.put(sale);
  };
  const reading = (async (): Promise<void> => {
    for await (const entry of entries) take(entry);
  })();
  const ended = new AbortController();
  const end = (): void => ended.abort();
  void reading.then(end, end);

  let behind = 0;
  while (!stop.aborted && !ended.signal.aborted && behind < PATIENCE_LOOKS) {
    await clock.sleep(LOOK_MS, stop);
    const now = await look(nats);
    // While NATS is away this process sells on what it knows; the watch goes on by itself when it is back.
    if (now === "away") continue;
    if (now === "missing" || now.created !== begun.created) break;
    behind = now.last > seen ? behind + 1 : 0;
  }
  entries.stop();
  await reading.catch(() => undefined);
};

/**
 * Keeps the book as the bucket `sales` says (DESIGN 7.5) until `stop`. nats.js follows a broken connection by itself but
 * not a bucket that was deleted and made anew, so the watch is compared with the bucket every second. A bucket that is
 * gone or comes back empty takes no sale out of the book: Redis judges, and the worker fills the bucket again.
 */
export const watchBucket = async (options: BucketOptions): Promise<void> => {
  while (!options.stop.aborted) {
    try {
      await watchOnce(options);
    } catch (error) {
      options.log.warn({ err: error }, "the watch of the sales ended, trying again");
    }
    await options.clock.sleep(LOOK_MS / 4, options.stop);
  }
};
