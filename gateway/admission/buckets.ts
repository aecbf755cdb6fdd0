import type { Hash } from "./hash.ts";
import { taken, waitMs, type Pace } from "./pace.ts";

/** Slots looked through for a key: one 64-byte line of fingerprints. */
const WAYS = 8;

/**
 * Token buckets for any number of distinct keys in fixed memory (16 bytes a slot): a set-associative table of 64-bit
 * fingerprints. A key that is not in it has a full bucket, so nothing is stored for a bucket that is full again.
 *
 * When all slots that a key may use are taken, the bucket nearest to full is forgotten. So the worst that more distinct
 * keys than slots can do is to give a forgotten key up to one fresh burst; it can never make the table refuse somebody
 * who stayed within the pace (that would take two keys with the same 64-bit fingerprint under a secret seed).
 */
export class Buckets {
  readonly #pace: Pace;
  readonly #mask: number;
  /** two words a slot */
  readonly #keys: Int32Array;
  readonly #fullMs: Float64Array;

  /** @param slots most keys remembered, rounded up to a power of two */
  constructor(pace: Pace, slots: number) {
    const sets = 2 ** Math.ceil(Math.log2(Math.max(1, slots / WAYS)));
    this.#pace = pace;
    this.#mask = sets - 1;
    this.#keys = new Int32Array(sets * WAYS * 2);
    this.#fullMs = new Float64Array(sets * WAYS);
  }

  /** @returns ms until this key has a token, 0 if it has one now; takes nothing */
  peek(key: Hash, nowMs: number): number {
    const slot = this.#find(key);
    return slot < 0 ? 0 : waitMs(this.#pace, this.#fullMs[slot] as number, nowMs);
  }

  /** Takes a token, also where `peek` says that there is none. */
  take(key: Hash, nowMs: number): void {
    if (this.#pace.intervalMs === 0) return;
    let slot = this.#find(key);
    if (slot < 0) slot = this.#replace(key);
    this.#fullMs[slot] = taken(this.#pace, this.#fullMs[slot] as number, nowMs);
  }

  #find(key: Hash): number {
    const first = (key.lo & this.#mask) * WAYS;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#keys[slot * 2] === key.hi && this.#keys[slot * 2 + 1] === key.lo) return slot;
    }
    return -1;
  }

  /** A never used slot counts as full since ever, so it is preferred without being distinguished. */
  #replace(key: Hash): number {
    const first = (key.lo & this.#mask) * WAYS;
    let fullest = first;
    for (let slot = first + 1; slot < first + WAYS; slot++) {
      if ((this.#fullMs[slot] as number) < (this.#fullMs[fullest] as number)) fullest = slot;
    }
    this.#keys[fullest * 2] = key.hi;
    this.#keys[fullest * 2 + 1] = key.lo;
    this.#fullMs[fullest] = 0;
    return fullest;
  }
}
