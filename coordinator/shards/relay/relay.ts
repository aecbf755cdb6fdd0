import type { Entry } from "#lua/shard/entry";
import { CorruptEntry } from "#lua/shard/outbox";
import { Wakeup } from "#program/wakeup";
import { RECORD_ORDERS } from "#protocol/log-record";
import type { Clock, Random } from "#protocol/ports";
import { AppendWindow, EntryTooLarge, type StoredRecord } from "./append-window.ts";
import { AppliedLog } from "./applied-log.ts";
import { entryOrders, recordLength } from "./record-join.ts";
import type { Cause, Outbox, ShardLog } from "./relay-ports.ts";

/** Entries a read takes: 256 full ones (512 orders of a 64-character uid) are 8 MB, the usual single ones a few kB. */
const READ_ENTRIES = 256;
/** A read of an idle outbox waits this long; it bounds how late a request to append again is seen. */
const BLOCK_MS = 250;
/**
 * While the worker has this many records before it, what comes next waits to be joined: a transaction costs the worker
 * about the same for one order and for a hundred, so many small records would only make it late.
 */
const RECORDS_AHEAD = 2;
/** The longest that entries wait to be joined; what is applied is heard by events that can get lost. */
const LINGER_MS = 25;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MOST_MS = 2_000;

/** What happens in a relay, for logs and metrics. */
export interface RelayObserver {
  appended(record: StoredRecord): void;
  appendedAgain(cause: Cause, from: number): void;
  fault(error: unknown): void;
}

export interface RelayOptions {
  readonly shard: number;
  readonly epoch: number;
  /** replication id of the server whose outbox this is */
  readonly replicationId: string;
  /** seq after which to begin */
  readonly from: number;
  readonly outbox: Outbox;
  readonly log: ShardLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: RelayObserver;
}

interface Again {
  readonly cause: Cause;
  readonly from: number;
}

/**
 * Carries one epoch of a shard's outbox into the log, in order.
 *
 * It appends only while the broker is the one that the keeper has verified (`allow`). Entries that were appended before
 * are appended again only for a cause: an append that failed, or one that the keeper names (`again`).
 */
export class Relay {
  readonly epoch: number;
  readonly replicationId: string;
  readonly applied: AppliedLog;
  readonly #options: RelayOptions;
  readonly #wakeup: Wakeup;
  #window: AppendWindow;
  #buffer: Entry[] = [];
  #orders = 0;
  #readTo: number;
  #bufferedAtMs = 0;
  #appliedSeq = 0;
  /** last seqs of the records that were sent and are not yet known to be applied */
  #ahead: number[] = [];
  #again: Again | undefined;
  #allowed = "";
  #backoffMs = BACKOFF_FIRST_MS;
  #isFull = false;

  constructor(options: RelayOptions) {
    this.epoch = options.epoch;
    this.replicationId = options.replicationId;
    this.applied = new AppliedLog(options.log.purgeAtBytes);
    this.#options = options;
    this.#wakeup = new Wakeup(options.clock);
    this.#readTo = options.from;
    this.#window = this.#openWindow(options.from);
  }

  /** everything up to this seq has been appended */
  get storedTo(): number {
    return this.#again === undefined ? this.#window.storedTo : Math.min(this.#again.from, this.#window.storedTo);
  }

  /** the last append was refused for want of room */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** The keeper has verified stream and consumer on this run of the broker. */
  allow(brokerId: string): void {
    if (this.#allowed === brokerId) return;
    this.#allowed = brokerId;
    this.#wakeup.wake();
  }

  /** Append everything after `from` again. */
  again(cause: Cause, from: number): void {
    this.#again = this.#again === undefined || from < this.#again.from ? { cause, from } : this.#again;
    this.#wakeup.wake();
  }

  /** Postgres holds everything up to this seq of the relay's epoch. */
  heardApplied(seq: number): void {
    if (seq <= this.#appliedSeq) return;
    this.#appliedSeq = seq;
    this.applied.applied(seq);
    this.#ahead = this.#ahead.filter((last) => last > seq);
    if (this.#ahead.length < RECORDS_AHEAD) this.#wakeup.wake();
  }

  /**
   * Runs until stopped, or until the outbox shows another epoch.
   * @throws if an entry cannot be read, or is larger than the broker takes: nothing after it may be carried
   */
  async run(stop: AbortSignal): Promise<void> {
    const close = (): void => this.#options.outbox.close();
    stop.addEventListener("abort", close, { once: true });
    try {
      while (!stop.aborted && (await this.#turn(stop)));
      await this.#window.drain();
    } finally {
      stop.removeEventListener("abort", close);
      close();
    }
  }

  /** @returns false if the outbox is not of this epoch any more */
  async #turn(stop: AbortSignal): Promise<boolean> {
    if (this.#again !== undefined || this.#window.failure !== undefined) {
      await this.#startOver(stop);
      return true;
    }
    if (this.#orders < RECORD_ORDERS && !(await this.#fill(stop))) return false;
    if (this.#buffer.length === 0) {
      await this.#window.oldest();
      return true;
    }
    const waitMs = this.#bufferedAtMs + LINGER_MS - this.#options.clock.monotonicMs();
    if (this.#orders < RECORD_ORDERS && this.#ahead.length >= RECORDS_AHEAD && waitMs > 0) {
      await this.#wakeup.wait(waitMs, stop);
      return true;
    }
    if (stop.aborted) return true;
    // asked last: a read may have waited while the broker changed
    const brokerId = this.#options.log.brokerId();
    if (brokerId !== "" && brokerId === this.#allowed) await this.#sendNext();
    else await this.#wakeup.wait(BLOCK_MS, stop);
    return true;
  }

  /** @returns false if an entry of another epoch was met */
  async #fill(stop: AbortSignal): Promise<boolean> {
    const { outbox, clock, observer } = this.#options;
    const blockMs = this.#buffer.length === 0 && this.#window.inFlight === 0 ? BLOCK_MS : 0;
    let read;
    try {
      read = await outbox.read({ epoch: this.epoch, seq: this.#readTo }, READ_ENTRIES, blockMs);
    } catch (error) {
      if (stop.aborted) return true;
      if (error instanceof CorruptEntry) throw error;
      observer.fault(error);
      await this.#backOff(stop);
      return true;
    }
    if (read.length > 0 && this.#buffer.length === 0) this.#bufferedAtMs = clock.monotonicMs();
    for (const { epoch, entry } of read) {
      if (epoch !== this.epoch) return false;
      this.#buffer.push(entry);
      this.#orders += entryOrders(entry);
      this.#readTo = entry.seq;
    }
    return true;
  }

  async #sendNext(): Promise<void> {
    const entries = this.#buffer.splice(0, recordLength(this.#buffer, this.#options.log.payloadBytes()));
    for (const entry of entries) this.#orders -= entryOrders(entry);
    const lastSeq = entries.at(-1)?.seq ?? 0;
    if (!(await this.#window.send({ type: "entries", shard: this.#options.shard, epoch: this.epoch, entries }))) return;
    if (lastSeq > this.#appliedSeq) this.#ahead.push(lastSeq);
  }

  /** Goes back to the entry that failed, or to where the keeper wants to begin again. */
  async #startOver(stop: AbortSignal): Promise<void> {
    await this.#window.drain();
    const { failure, storedTo } = this.#window;
    const again = this.#again;
    this.#again = undefined;
    const from = Math.min(again?.from ?? storedTo, storedTo);
    this.#isFull = failure?.cause === "full";
    this.#buffer = [];
    this.#orders = 0;
    this.#ahead = [];
    this.#readTo = from;
    this.#window = this.#openWindow(from);
    if (again !== undefined) this.#options.observer.appendedAgain(again.cause, from);
    if (failure === undefined) return;
    if (failure.error instanceof EntryTooLarge) throw failure.error;
    this.#options.observer.appendedAgain(failure.cause, from);
    if (failure.error !== undefined) this.#options.observer.fault(failure.error);
    await this.#backOff(stop);
  }

  #openWindow(from: number): AppendWindow {
    return new AppendWindow(this.#options.log, from, (record) => {
      this.#backoffMs = BACKOFF_FIRST_MS;
      this.#isFull = false;
      this.applied.stored(record);
      this.#options.observer.appended(record);
    });
  }

  async #backOff(stop: AbortSignal): Promise<void> {
    const ms = this.#backoffMs * (0.5 + this.#options.random.fraction());
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MOST_MS);
    await this.#options.clock.sleep(ms, stop);
  }
}
