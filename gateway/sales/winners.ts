import { hashInto, type Hash } from "../admission/hash.ts";

/**
 * The buyers of one sold-out sale, 4 bytes a slot: open addressing over 32-bit fingerprints, at most half full. `has`
 * never denies a buyer who was added; it takes a stranger for one about once in four billion slots looked at, who then
 * is asked about in Redis.
 */
export class Winners {
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #seedHi: number;
  readonly #seedLo: number;
  readonly #hash: Hash = { hi: 0, lo: 0 };
  #size = 0;

  /** @param most buyers that will be added; one more is a fault */
  constructor(most: number, seedHi: number, seedLo: number) {
    this.#slots = new Int32Array(slotsFor(most));
    this.#mask = this.#slots.length - 1;
    this.#seedHi = seedHi;
    this.#seedLo = seedLo;
  }

  /** buyers added, a repeat counted once */
  get size(): number {
    return this.#size;
  }

  /** memory taken */
  get slots(): number {
    return this.#slots.length;
  }

  /** @throws if there are more buyers than the set was made for: a full one would be searched for ever */
  add(uid: string): void {
    const slot = this.#find(uid, 0, uid.length);
    if (this.#slots[slot] !== 0) return;
    if ((this.#size + 1) * 2 > this.#slots.length) throw new RangeError("more winners than the set was made for");
    this.#slots[slot] = this.#hash.hi;
    this.#size += 1;
  }

  /** @param text holds the uid from `from` to before `to` */
  has(text: string, from = 0, to = text.length): boolean {
    return this.#slots[this.#find(text, from, to)] !== 0;
  }

  /** The slot of this buyer, or the empty one where it belongs; leaves the fingerprint (never 0) in `hash.hi`. */
  #find(text: string, from: number, to: number): number {
    hashInto(this.#hash, this.#seedHi, this.#seedLo, text, from, to);
    if (this.#hash.hi === 0) this.#hash.hi = 1;
    let slot = this.#hash.lo & this.#mask;
    while (this.#slots[slot] !== 0 && this.#slots[slot] !== this.#hash.hi) slot = (slot + 1) & this.#mask;
    return slot;
  }
}

/** Slots of a set for that many buyers. */
export const slotsFor = (most: number): number => 2 ** Math.ceil(Math.log2(Math.max(8, (most + 1) * 2)));
