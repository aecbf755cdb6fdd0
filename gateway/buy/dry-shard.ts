import type { Clock } from "#protocol/ports";
import { unpackPurchase } from "#lua/stock/fields";

import { refusals, type OnOutcome, type Outcome } from "./outcome.ts";

/** A transfer takes 50 to 300 ms: who came for a unit that is on its way meets it, and nobody waits longer than a page needs to load. */
export const DRY_WAIT_MS = 300;
/** Requests that one process lets wait at one shard; more are answered at once that they may come again. */
export const MOST_DRY_WAITERS = 1_000;
/** While many wait, one of them asks Redis again so often, for all. */
const KNOCK_MS = 40;
/** How often a process says that a sale's shard is dry: the listener acts on the first and only has to be kept awake. */
const HINT_MS = 100;
/** What is known of a sale is forgotten when nobody has asked for so long. */
const FORGET_MS = 2_000;

export interface DryShardOptions {
  readonly clock: Clock;
  /** asks Redis once more; @returns the refusal, if it was not taken: then `answer` is never called */
  readonly ask: (saleId: string, packed: string, answer: OnOutcome) => Outcome | undefined;
  /** what is answered while the sale's sold-out flag stands and may be believed (DESIGN 7.4); undefined without it */
  readonly end: (saleId: string) => Outcome | undefined;
  /** tells the coordinators that units are wanted here; may get lost */
  readonly hint: (saleId: string, units: number) => void;
}

interface Waiter {
  readonly packed: string;
  readonly answer: OnOutcome;
  readonly untilMs: number;
  /** what the batcher is given when this one asks again */
  readonly retry: OnOutcome;
}

/** The buyers of one sale who wait at this shard. */
interface Line {
  waiters: Waiter[];
  nextKnockMs: number;
  nextHintMs: number;
  askedMs: number;
}

/**
 * Where purchases wait whose shard has too few units while the sale is not sold out: another shard may have some, and
 * they can be brought here (DESIGN 7.3). A moment, bounded in time and number; then `units_moving`, never `sold_out`, unless
 * the flag comes in. However many wait, Redis hears one question every KNOCK_MS from a process; only when that one is
 * sold a unit do all others ask too, in the batcher's batches.
 */
export class DryShard {
  readonly #options: DryShardOptions;
  readonly #lines = new Map<string, Line>();
  /** those that ask again at this moment, by the answer that the batcher was given */
  readonly #asking = new Map<OnOutcome, Waiter>();
  #waiting = 0;

  constructor(options: DryShardOptions) {
    this.#options = options;
  }

  /** requests that wait, those counted that ask again at this moment */
  get count(): number {
    return this.#waiting + this.#asking.size;
  }

  /** Redis found too few units. @param left units that this shard has left: fewer than were asked for */
  hold(saleId: string, packed: string, answer: OnOutcome, left: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    const again = this.#asking.get(answer);
    if (again !== undefined) this.#asking.delete(answer);
    const end = left === 0 ? this.#options.end(saleId) : undefined;
    if (end !== undefined) return (again?.answer ?? answer)(end);
    const line = this.#line(saleId, nowMs);
    line.askedMs = nowMs;
    if (line.nextHintMs <= nowMs) {
      line.nextHintMs = nowMs + HINT_MS;
      this.#options.hint(saleId, unpackPurchase(packed)?.units ?? 1);
    }
    if (again === undefined ? this.count >= MOST_DRY_WAITERS : again.untilMs <= nowMs)
      return (again?.answer ?? answer)(left > 0 ? refusals.fewerLeft : refusals.unitsMoving);
    this.#waiting += 1;
    if (again === undefined) line.waiters.push(this.#waiter(saleId, packed, answer, nowMs));
    else line.waiters.unshift(again);
  }

  /** To be called many times a second. */
  tick(nowMs: number): void {
    for (const [saleId, line] of this.#lines) {
      while (line.waiters.length > 0 && (line.waiters[0] as Waiter).untilMs <= nowMs) this.#next(line).answer(refusals.unitsMoving);
      if (line.waiters.length > 0 && this.#options.end(saleId) !== undefined) this.#askAll(saleId, line);
      else if (line.waiters.length > 0 && line.nextKnockMs <= nowMs) {
        line.nextKnockMs = nowMs + KNOCK_MS;
        this.#askAgain(saleId, this.#next(line));
      }
      if (line.waiters.length === 0 && line.askedMs + FORGET_MS <= nowMs) this.#lines.delete(saleId);
    }
  }

  /** This process ends: nothing was taken for those who still wait. */
  release(): void {
    for (const line of this.#lines.values()) while (line.waiters.length > 0) this.#next(line).answer(refusals.stopping);
  }

  #line(saleId: string, nowMs: number): Line {
    let line = this.#lines.get(saleId);
    if (line === undefined) this.#lines.set(saleId, (line = { waiters: [], nextKnockMs: nowMs + KNOCK_MS, nextHintMs: 0, askedMs: nowMs }));
    return line;
  }

  #waiter(saleId: string, packed: string, answer: OnOutcome, nowMs: number): Waiter {
    const waiter: Waiter = {
      packed,
      answer,
      untilMs: nowMs + DRY_WAIT_MS,
      // Anything but "dry", which comes back to `hold`.
      retry: (outcome) => {
        this.#asking.delete(waiter.retry);
        answer(outcome);
        const line = this.#lines.get(saleId);
        if (outcome.orderId !== undefined && line !== undefined) this.#askAll(saleId, line);
      },
    };
    return waiter;
  }

  #next(line: Line): Waiter {
    this.#waiting -= 1;
    return line.waiters.shift() as Waiter;
  }

  #askAgain(saleId: string, waiter: Waiter): void {
    this.#asking.set(waiter.retry, waiter);
    const refusal = this.#options.ask(saleId, waiter.packed, waiter.retry);
    if (refusal === undefined) return;
    this.#asking.delete(waiter.retry);
    waiter.answer(refusal);
  }

  #askAll(saleId: string, line: Line): void {
    const waiters = line.waiters;
    line.waiters = [];
    this.#waiting -= waiters.length;
    for (const waiter of waiters) this.#askAgain(saleId, waiter);
  }
}
