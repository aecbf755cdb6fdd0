import type { Random } from "#protocol/ports";
import { Buckets } from "./buckets.ts";
import { hashInto, type Hash } from "./hash.ts";
import { pace, taken, waitMs, type Pace } from "./pace.ts";

interface Limit {
  /** a second; 0 = no limit */
  readonly rate: number;
  readonly burst: number;
}

export interface Limits {
  /** of one buyer in one sale */
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

const WORD = 0x1_0000_0000;
const draw = (random: Random): number => Math.floor(random.fraction() * WORD) >>> 0;

/**
 * Who may ask Redis now. State is this process's own: with P gateway processes a key that reaches all of them passes at
 * most P times its limit. The limit that must be exact, one purchase a buyer, is enforced in Redis anyway.
 */
export class Admission {
  readonly #buyers: Buckets;
  readonly #addresses: Buckets;
  readonly #sale: Pace;
  readonly #seedHi: number;
  readonly #seedLo: number;
  readonly #buyer: Hash = { hi: 0, lo: 0 };
  readonly #address: Hash = { hi: 0, lo: 0 };
  #hasAddress = false;

  constructor(limits: Limits, random: Random) {
    this.#buyers = new Buckets(pace(limits.buyer.rate, limits.buyer.burst), limits.slots);
    this.#addresses = new Buckets(pace(limits.address.rate, limits.address.burst), limits.slots);
    this.#sale = pace(limits.sale.rate, limits.sale.burst);
    this.#seedHi = draw(random);
    this.#seedLo = draw(random);
  }

  /**
   * Looks at the buyer's and the sale's bucket and takes nothing, because the ticket is not verified yet.
   * @param text holds the uid from `from` to before `to`
   * @returns ms until both have a token, 0 if they have one now
   */
  peek(saleId: string, ceiling: Ceiling, nowMs: number, text: string, from = 0, to = text.length): number {
    const buyer = this.#buyer;
    hashInto(buyer, this.#seedHi, this.#seedLo, saleId);
    hashInto(buyer, buyer.hi, buyer.lo, text, from, to);
    return Math.max(this.#buyers.peek(buyer, nowMs), waitMs(this.#sale, ceiling.fullMs, nowMs));
  }

  /**
   * Looks at the address's bucket; to be called last, because the address itself is the dearest thing to get (1.7 us),
   * and in the same tick as the `peek` before it.
   * @param address empty = exempt
   * @returns ms until it has a token, 0 if it has one now
   */
  peekAddress(address: string, nowMs: number): number {
    this.#hasAddress = address !== "";
    if (!this.#hasAddress) return 0;
    hashInto(this.#address, this.#seedHi, this.#seedLo, address);
    return this.#addresses.peek(this.#address, nowMs);
  }

  /**
   * Takes a token from the address alone: for a ticket that turned out forged. The buyer it names has nothing to do with
   * it, but each costs a signature. To be called in the same tick as the `peekAddress` before it.
   */
  takeAddress(nowMs: number): void {
    if (this.#hasAddress) this.#addresses.take(this.#address, nowMs);
  }

  /** Takes one token from each bucket that the last `peek` and `peekAddress` looked at; to be called in the same tick. */
  take(ceiling: Ceiling, nowMs: number): void {
    this.#buyers.take(this.#buyer, nowMs);
    this.takeAddress(nowMs);
    ceiling.fullMs = taken(this.#sale, ceiling.fullMs, nowMs);
  }
}
