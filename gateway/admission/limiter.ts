import { Buckets } from "./buckets.ts";
import { hashInto, type Hash } from "./hash.ts";
import { pace } from "./pace.ts";

export interface Limit {
  /** a second; 0 = no limit */
  readonly rate: number;
  readonly burst: number;
}

/** One limit for each of any number of keys, and the key that was looked at last. */
export class Limiter {
  readonly #buckets: Buckets;
  readonly #seed: Readonly<Hash>;
  readonly #key: Hash = { hi: 0, lo: 0 };
  #isExempt = true;

  /**
   * @param slots keys that are remembered, 16 bytes each
   * @param seed drawn at random by the process (hash.ts)
   */
  constructor({ rate, burst }: Limit, slots: number, seed: Readonly<Hash>) {
    this.#buckets = new Buckets(pace(rate, burst), slots);
    this.#seed = seed;
  }

  /**
   * Looks and takes nothing.
   * @param text holds the key from `from` to before `to`; an empty key is exempt
   * @returns ms until this key has a token, 0 if it has one now
   */
  peek(nowMs: number, text: string, from = 0, to = text.length): number {
    this.#isExempt = from === to;
    if (this.#isExempt) return 0;
    hashInto(this.#key, this.#seed.hi, this.#seed.lo, text, from, to);
    return this.#buckets.peek(this.#key, nowMs);
  }

  /** Takes a token from the key of the last `peek`; to be called in the same tick. */
  take(nowMs: number): void {
    if (!this.#isExempt) this.#buckets.take(this.#key, nowMs);
  }
}
