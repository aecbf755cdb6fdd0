import { NatsError, type KvEntry, type NatsConnection } from "nats";
import type { Clock } from "#protocol/ports";

/** How often the watch is compared with the bucket itself. */
const LOOK_MS = 1_000;
/** Before a bucket that was not there, or a watch that ended, is looked for again. */
const RETRY_MS = LOOK_MS / 4;
/** A revision that the watch has not shown after this many looks will not come. */
const PATIENCE_LOOKS = 2;
/** JetStream's answer about a stream that is not there. */
const NOT_FOUND = 404;

export interface FollowOptions {
  readonly nats: NatsConnection;
  readonly bucket: string;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  /** called for each entry there is, and then for each change; what it throws is reported, and the entry passed over */
  readonly put: (key: string, value: Uint8Array, revision: number) => void;
  /** called for a key that was deleted by name */
  readonly remove: (key: string) => void;
  /** called when everything that was in the bucket at the start of a watch was handed over */
  readonly loaded?: () => void;
  /** called with an entry that could not be taken, and with a watch that broke and is made anew */
  readonly fault: (error: unknown) => void;
}

/** Which bucket this is and how far it goes. */
interface Mark {
  readonly created: string;
  readonly last: number;
}

/** `missing`: there is no such bucket; `away`: nobody answered. */
const look = async (nats: NatsConnection, bucket: string): Promise<Mark | "missing" | "away"> => {
  try {
    const manager = await nats.jetstreamManager({ checkAPI: false });
    const { created, state } = await manager.streams.info(`KV_${bucket}`);
    return { created, last: state.last_seq };
  } catch (error) {
    return error instanceof NatsError && error.api_error?.code === NOT_FOUND ? "missing" : "away";
  }
};

/** One watch from the first entry on; resolves when it has to be made anew, or on stop. */
const watchOnce = async (options: FollowOptions): Promise<void> => {
  const { nats, bucket, clock, stop, fault } = options;
  const begun = await look(nats, bucket);
  if (typeof begun === "string") return;
  const view = await nats.jetstream().views.kv(bucket, { bindOnly: true });
  const entries = await view.watch({ initializedFn: () => options.loaded?.() });
  let seen = 0;
  const take = (entry: KvEntry): void => {
    seen = entry.revision;
    try {
      if (entry.operation === "PUT") options.put(entry.key, entry.value, entry.revision);
      else options.remove(entry.key);
    } catch (error) {
      fault(error);
    }
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
    const now = await look(nats, bucket);
    // While NATS is away one goes on with what one knows; the watch goes on by itself when it is back.
    if (now === "away") continue;
    if (now === "missing" || now.created !== begun.created) break;
    behind = now.last > seen ? behind + 1 : 0;
  }
  entries.stop();
  await reading;
};

/**
 * Follows a KV bucket until `stop`, which others make, fill and may make anew. nats.js follows a broken connection by itself
 * but not a bucket that was deleted and made again, so the watch is compared with the bucket every second. A bucket
 * that is gone or comes back empty removes nothing: only a key that was deleted by name does. Never rejects.
 */
export const followBucket = async (options: FollowOptions): Promise<void> => {
  while (!options.stop.aborted) {
    await watchOnce(options).catch(options.fault);
    await options.clock.sleep(RETRY_MS, options.stop);
  }
};
