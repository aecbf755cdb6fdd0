import type { EntriesRecord } from "#protocol/log-record";
import { Cause, type ShardLog } from "./relay-ports.ts";

/** Appends in flight at once: with one, each waits for the other's round trip; more than a few gain nothing on one broker. */
const APPENDS_IN_FLIGHT = 8;

/** From which entry on everything has to be appended again, and why. */
export interface AppendFailure {
  readonly seq: number;
  readonly cause: "full" | "too_large" | "unanswered";
  /** what was thrown; EntryTooLarge if not even the entry alone fits */
  readonly error?: unknown;
}

/** An entry that the broker does not take, however often it is appended: what is sold behind it cannot be carried. */
export class EntryTooLarge extends Error {
  override readonly name = "EntryTooLarge";

  constructor(seq: number, bytes: number, payloadBytes: number) {
    super(`entry ${seq} needs a message of ${bytes} bytes, and the broker's max_payload is ${payloadBytes}: raise max_payload`);
  }
}

export interface StoredRecord {
  readonly streamSeq: number;
  /** seq of its last entry */
  readonly lastSeq: number;
  readonly bytes: number;
}

interface InFlight {
  readonly lastSeq: number;
  readonly settled: Promise<void>;
}

/**
 * Several appends in flight, sent in order. When one fails nothing more is sent, because what follows a hole would only
 * be a gap for the worker: the caller drains the window and begins a new one before the failed entry.
 */
export class AppendWindow {
  readonly #log: Pick<ShardLog, "append" | "payloadBytes">;
  readonly #onStored: (record: StoredRecord) => void;
  readonly #inFlight: InFlight[] = [];
  #failure: AppendFailure | undefined;
  #storedTo: number;

  constructor(log: Pick<ShardLog, "append" | "payloadBytes">, from: number, onStored: (record: StoredRecord) => void) {
    this.#log = log;
    this.#storedTo = from;
    this.#onStored = onStored;
  }

  /** every entry after the window's beginning up to this seq is known to be stored */
  get storedTo(): number {
    return this.#storedTo;
  }

  get failure(): AppendFailure | undefined {
    return this.#failure;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** Waits until there is room. @returns false if an append has failed: the record was not sent */
  async send(record: EntriesRecord): Promise<boolean> {
    while (this.#inFlight.length >= APPENDS_IN_FLIGHT && this.#failure === undefined) await this.oldest();
    if (this.#failure !== undefined) return false;
    const first = record.entries[0]?.seq ?? 0;
    const lastSeq = record.entries.at(-1)?.seq ?? 0;
    const sent: InFlight = { lastSeq, settled: this.#append(record, first, lastSeq) };
    this.#inFlight.push(sent);
    return true;
  }

  /** until the oldest append in flight has ended, one way or the other */
  async oldest(): Promise<void> {
    const sent = this.#inFlight[0];
    if (sent === undefined) return;
    await sent.settled;
    if (this.#inFlight[0] !== sent) return;
    this.#inFlight.shift();
    if (this.#failure === undefined || sent.lastSeq < this.#failure.seq) this.#storedTo = sent.lastSeq;
  }

  /** until nothing is in flight */
  async drain(): Promise<void> {
    while (this.#inFlight.length > 0) await this.oldest();
  }

  async #append(record: EntriesRecord, first: number, lastSeq: number): Promise<void> {
    try {
      const answer = await this.#log.append(record);
      if (answer.status === "full") this.#fail({ seq: first, cause: Cause.full });
      else if (answer.status === "too_large") {
        const error = record.entries.length > 1 ? {} : { error: new EntryTooLarge(first, answer.bytes, this.#log.payloadBytes()) };
        this.#fail({ seq: first, cause: Cause.tooLarge, ...error });
      } else this.#onStored({ streamSeq: answer.streamSeq, lastSeq, bytes: answer.bytes });
    } catch (error) {
      this.#fail({ seq: first, cause: Cause.unanswered, error });
    }
  }

  #fail(failure: AppendFailure): void {
    if (this.#failure === undefined || failure.seq < this.#failure.seq) this.#failure = failure;
  }
}
