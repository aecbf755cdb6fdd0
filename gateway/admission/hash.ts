import type { Random } from "#protocol/ports";

/** 64 bits as two signed halves (small integers to V8); written into, so that hashing a request's keys allocates nothing. */
export interface Hash {
  hi: number;
  lo: number;
}

/**
 * Hashes a short key (two multiplicative chains with a murmur-like finish, after cyrb53). Not cryptographic: `seed`
 * (hi, lo) must be drawn at random by the process, so that nobody outside can prepare keys that collide. So nothing that
 * leaves the process depends on it, and it may change; a buyer's home shard has a function of its own.
 */
export const hashInto = (into: Hash, seedHi: number, seedLo: number, text: string, from = 0, to = text.length): void => {
  let a = 0xdeadbeef ^ seedHi;
  let b = 0x41c6ce57 ^ seedLo;
  for (let i = from; i < to; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x9e3779b1);
    b = Math.imul(b ^ unit, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  into.hi = a;
  into.lo = b;
};

const WORD = 0x1_0000_0000;
const draw = (random: Random): number => Math.floor(random.fraction() * WORD) >>> 0;

/** A seed that nobody outside knows, for all of a process's hashes. */
export const drawSeed = (random: Random): Readonly<Hash> => ({ hi: draw(random), lo: draw(random) });
