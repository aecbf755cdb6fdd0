import type { Clock } from "#protocol/ports";
import { MOST_PURCHASES } from "#lua/stock/reserve";
import { refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import type { Turn } from "./service-ports.ts";

/** Two calls keep Redis busy while an answer travels; more would only make the batches smaller. */
const MOST_CALLS = 2;

/**
 * A call costs Redis, with `appendfsync always`, as much as about 200 purchases (230 us and 1.15 us each, redis 7.0.15),
 * so one that goes out beside another must be worth it; fewer wait for the answer, a millisecond or so, and grow.
 */
export const SECOND_CALL_LEAST = 128;

/**
 * A batch that was begun longer ago than this part of the time-out takes no more requests, because it is answered as
 * a whole: nobody hears `try_again` much before the time-out.
 */
const BATCH_AGE_SHARE = 1 / 8;

/** A connection silent for this many time-outs is given up; until then it keeps the order of what was sent on it. */
const RESET_AFTER_TIMEOUTS = 3;

/** What is done in batches: how one is sent, and how its result answers each item. */
export interface BatchOperation<Item, Result> {
  isReady(): boolean;
  send(saleId: string, items: readonly Item[]): Promise<Result>;
  /** calls each answer once; `answers` has the order of the items */
  deliver(saleId: string, result: Result, items: readonly Item[], answers: readonly OnOutcome[]): void;
  /** what those hear whose batch was sent and not answered in time, or whose connection broke */
  readonly unanswered: Outcome;
  reset(): void;
}

export interface BatcherOptions {
  readonly clock: Clock;
  readonly turn: Turn;
  /** requests that may wait to be sent */
  readonly queueLimit: number;
  /** from joining to an answer */
  readonly timeoutMs: number;
  /** called for every call that ended: its size, and its time in ms */
  readonly onCall?: (size: number, ms: number) => void;
  /** called for every call that failed */
  readonly onFault?: (error: unknown) => void;
}

interface Batch<Item> {
  readonly saleId: string;
  readonly items: Item[];
  /** emptied when they have been answered */
  answers: OnOutcome[];
  readonly begunAtMs: number;
}

interface Call<Item> {
  readonly batch: Batch<Item>;
  readonly sentAtMs: number;
  isReset: boolean;
}

/**
 * The way of one kind of request to one shard. Requests of a turn of the event loop are sent together, a batch holds
 * requests of one sale (at most 512), at most two batches are on their way, the second only if many wait; meanwhile the
 * next ones grow, and sales take turns. So load makes batches and idleness keeps the delay low.
 *
 * Not lua/core/batches.ts: that makes a promise an item, knows one kind of batch and no time-out; here a request costs a
 * callback, a batch is of one sale, and what waits too long is answered.
 *
 * Everything is bounded: what waits by `queueLimit` (then `busy`), its time by `timeoutMs`. A call that is not
 * answered keeps its place until its connection ends, so a Redis that hangs holds two batches and not a pile; while one
 * is overdue nothing new is taken. Its late answer finds nobody and is dropped.
 */
export class Batcher<Item, Result> {
  readonly #operation: BatchOperation<Item, Result>;
  readonly #options: BatcherOptions;
  /** batches that wait, by sale; the sale whose turn it is comes first */
  readonly #waiting = new Map<string, Batch<Item>[]>();
  readonly #calls = new Set<Call<Item>>();
  #queued = 0;
  #isScheduled = false;
  #isOverdue = false;

  constructor(operation: BatchOperation<Item, Result>, options: BatcherOptions) {
    this.#operation = operation;
    this.#options = options;
  }

  /** requests that wait to be sent */
  get queued(): number {
    return this.#queued;
  }

  /** nothing waits and nothing is on its way */
  get isIdle(): boolean {
    return this.#queued === 0 && this.#calls.size === 0;
  }

  /**
   * Takes a request.
   * @returns the refusal, if it was not taken; then `answer` is never called
   */
  join(saleId: string, item: Item, answer: OnOutcome, nowMs: number): Outcome | undefined {
    if (!this.#operation.isReady()) return refusals.recovering;
    if (this.#isOverdue) return refusals.stalled;
    if (this.#queued >= this.#options.queueLimit) return refusals.busy;
    this.#queued += 1;
    const batch = this.#openBatch(saleId, nowMs);
    batch.items.push(item);
    batch.answers.push(answer);
    this.#schedule();
    return undefined;
  }

  /** To be called several times a time-out: ends what is too old. */
  tick(nowMs: number): void {
    const { timeoutMs } = this.#options;
    this.#isOverdue = false;
    for (const call of this.#calls) {
      if (call.batch.begunAtMs + timeoutMs <= nowMs) this.#tell(call.batch, this.#operation.unanswered);
      if (call.sentAtMs + timeoutMs <= nowMs) this.#isOverdue = true;
      if (!call.isReset && call.sentAtMs + timeoutMs * RESET_AFTER_TIMEOUTS <= nowMs) {
        call.isReset = true;
        this.#operation.reset();
      }
    }
    for (const [saleId, batches] of this.#waiting) {
      while (batches.length > 0 && (batches[0] as Batch<Item>).begunAtMs + timeoutMs <= nowMs) this.#drop(batches, refusals.stalled);
      if (batches.length === 0) this.#waiting.delete(saleId);
    }
  }

  #openBatch(saleId: string, nowMs: number): Batch<Item> {
    let batches = this.#waiting.get(saleId);
    if (batches === undefined) {
      batches = [];
      this.#waiting.set(saleId, batches);
    }
    const last = batches.at(-1);
    if (last !== undefined && last.items.length < MOST_PURCHASES && nowMs - last.begunAtMs <= this.#options.timeoutMs * BATCH_AGE_SHARE)
      return last;
    const batch: Batch<Item> = { saleId, items: [], answers: [], begunAtMs: nowMs };
    batches.push(batch);
    return batch;
  }

  #schedule(): void {
    if (this.#isScheduled || !this.#maySend()) return;
    this.#isScheduled = true;
    this.#options.turn.atEnd(this.#flush);
  }

  #maySend(): boolean {
    return this.#queued >= (this.#calls.size === 0 ? 1 : SECOND_CALL_LEAST) && this.#calls.size < MOST_CALLS;
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    while (this.#maySend()) {
      const [saleId, batches] = this.#waiting.entries().next().value as [string, Batch<Item>[]];
      if (this.#operation.isReady()) this.#send(batches.shift() as Batch<Item>);
      else this.#drop(batches, refusals.recovering);
      // To the end of the row: the other sales are first now.
      this.#waiting.delete(saleId);
      if (batches.length > 0) this.#waiting.set(saleId, batches);
    }
  };

  #send(batch: Batch<Item>): void {
    this.#queued -= batch.items.length;
    const call: Call<Item> = { batch, sentAtMs: this.#options.clock.monotonicMs(), isReset: false };
    this.#calls.add(call);
    // Two arguments, so that a fault in an answer is a fault and not one more answer.
    void this.#operation.send(batch.saleId, batch.items).then(
      (result) => {
        this.#end(call);
        const { answers } = batch;
        batch.answers = [];
        if (answers.length > 0) this.#operation.deliver(batch.saleId, result, batch.items, answers);
      },
      (error: unknown) => {
        this.#end(call);
        this.#tell(batch, this.#operation.unanswered);
        this.#options.onFault?.(error);
      },
    );
  }

  #end(call: Call<Item>): void {
    this.#calls.delete(call);
    this.#options.onCall?.(call.batch.items.length, this.#options.clock.monotonicMs() - call.sentAtMs);
    this.#schedule();
  }

  #drop(batches: Batch<Item>[], outcome: Outcome): void {
    const batch = batches.shift() as Batch<Item>;
    this.#queued -= batch.items.length;
    this.#tell(batch, outcome);
  }

  #tell(batch: Batch<Item>, outcome: Outcome): void {
    const { answers } = batch;
    batch.answers = [];
    for (const answer of answers) answer(outcome);
  }
}
