import type { Hash } from "./hash.ts";
import { Limiter, type Limit } from "./limiter.ts";
import { pace, taken, waitMs, type Pace } from "./pace.ts";

export interface ReadLimits {
  /** standings of one buyer over all sales */
  readonly buyer: Limit;
  /** reads of one address that are counted to it: public ones above the ceiling, and what costs more than cached bytes */
  readonly address: Limit;
  /** public reads of everybody together that need no address */
  readonly ceiling: Limit;
  /** buyers, and addresses, that are remembered */
  readonly slots: number;
}

/** Who asks, looked up when asked for: the look-up is the dearest part of a cheap answer. */
export interface Reader {
  /** key of the address bucket (address.ts); empty = exempt */
  readonly address: string;
}

/** Who may read now. Buckets apart from those of purchases, so that who looks too often can still buy. */
export class ReadAdmission {
  readonly #buyers: Limiter;
  readonly #addresses: Limiter;
  readonly #ceiling: Pace;
  #fullMs = 0;

  constructor(limits: ReadLimits, seed: Readonly<Hash>) {
    this.#buyers = new Limiter(limits.buyer, limits.slots, seed);
    this.#addresses = new Limiter(limits.address, limits.slots, seed);
    this.#ceiling = pace(limits.ceiling.rate, limits.ceiling.burst);
  }

  /**
   * Looks at the buckets of a standing and takes nothing, because the ticket is not verified yet.
   * @returns ms until buyer and address have a token, 0 if they have one now
   */
  peek(uid: string, reader: Reader, nowMs: number): number {
    return this.#buyers.peek(nowMs, uid) || this.#addresses.peek(nowMs, reader.address);
  }

  /** The ticket of the last `peek` is good: the buyer's read. To be called in the same tick. */
  takeBuyer(nowMs: number): void {
    this.#buyers.take(nowMs);
  }

  /** The ticket of the last `peek` is forged, and cost a signature: it is its address's. To be called in the same tick. */
  takeAddress(nowMs: number): void {
    this.#addresses.take(nowMs);
  }

  /**
   * A read of cached bytes. A refusal costs as much as they do (7 us), and the look-up of an address 1.5 us on top: so
   * only reads above what this process answers anyway are counted to their addresses.
   * @returns ms until it may be answered; 0: now, and it is counted
   */
  publicRead(reader: Reader, nowMs: number): number {
    if (waitMs(this.#ceiling, this.#fullMs, nowMs) > 0) return this.countedRead(reader, nowMs);
    this.#fullMs = taken(this.#ceiling, this.#fullMs, nowMs);
    return 0;
  }

  /** A read that costs more than cached bytes. @returns as `publicRead` */
  countedRead(reader: Reader, nowMs: number): number {
    const wait = this.#addresses.peek(nowMs, reader.address);
    if (wait === 0) this.#addresses.take(nowMs);
    return wait;
  }
}
