/**
 * A seeded source of numbers (mulberry32: 32 bits of state are enough for some thousand draws): what happens by chance in a
 * test, a schedule or a soak comes from one of these, so the same seed does the same.
 */
export class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** uniform in [0, 1) */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** a whole number from 0 to `most` - 1 */
  below(most: number): number {
    return Math.floor(this.fraction() * most);
  }

  /** a whole number from `least` to `most` */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  /** one of the keys, each as likely as its weight says */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let at = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      at -= weight;
      if (at < 0) return key;
    }
    return (entries.at(-1) as [K, number])[0];
  }

  /** Between the two, small values as likely as large ones: 1 to 10 as often as 10 to 100. */
  logarithmic(least: number, most: number): number {
    return least * (most / least) ** this.fraction();
  }
}
