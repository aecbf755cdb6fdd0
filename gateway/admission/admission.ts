import type { Hash } from "./hash.ts";
import { Limiter, type Limit } from "./limiter.ts";
import { pace, taken, waitMs, type Pace } from "./pace.ts";

export interface Limits {
  /** of one buyer over all sales */
  readonly buyer: Limit;
  /** of one address (an IPv6 /64 counts as one) over all sales */
  readonly address: Limit;
  /** of one sale over all buyers: shields Redis */
  readonly sale: Limit;
  /** buyers, and addresses, that are remembered */
  readonly slots: number;
}

/** The sale's own bucket, kept with the sale. */
export interface Ceiling {
  fullMs: number;
}

/**
 * Who may ask Redis for a purchase now. State is this process's own: with P gateway processes a key that reaches all of
 * them passes at most P times its limit. The limit that must be exact, one purchase a buyer, is enforced in Redis anyway.
 */
export class Admission {
  readonly #buyers: Limiter;
  readonly #addresses: Limiter;
  readonly #sale: Pace;

  constructor(limits: Limits, seed: Readonly<Hash>) {
    this.#buyers = new Limiter(limits.buyer, limits.slots, seed);
    this.#addresses = new Limiter(limits.address, limits.slots, seed);
    this.#sale = pace(limits.sale.rate, limits.sale.burst);
  }

  /**
   * Looks at the buyer's and the sale's bucket and takes nothing, because the ticket is not verified yet.
   * @param text holds the uid from `from` to before `to`
   * @returns ms until both have a token, 0 if they have one now
   */
  peek(ceiling: Ceiling, nowMs: number, text: string, from = 0, to = text.length): number {
    return Math.max(this.#buyers.peek(nowMs, text, from, to), waitMs(this.#sale, ceiling.fullMs, nowMs));
  }

  /**
   * Looks at the address's bucket; to be called last, because the address itself is the dearest thing to get (1.7 us),
   * and in the same tick as the `peek` before it.
   * @param address empty = exempt
   * @returns ms until it has a token, 0 if it has one now
   */
  peekAddress(address: string, nowMs: number): number {
    return this.#addresses.peek(nowMs, address);
  }

  /**
   * Takes a token from the address alone: for a ticket that turned out forged. The buyer it names has nothing to do with
   * it, but each costs a signature. To be called in the same tick as the `peekAddress` before it.
   */
  takeAddress(nowMs: number): void {
    this.#addresses.take(nowMs);
  }

  /** Takes one token from each bucket that the last `peek` and `peekAddress` looked at; to be called in the same tick. */
  take(ceiling: Ceiling, nowMs: number): void {
    this.#buyers.take(nowMs);
    this.#addresses.take(nowMs);
    ceiling.fullMs = taken(this.#sale, ceiling.fullMs, nowMs);
  }
}
