/** Draws that depend on nothing but the seed: the same seed plans the same soak. */
export interface Draw {
  /** 0 <= x < 1 */
  fraction(): number;
  /** from <= whole number <= to */
  whole(from: number, to: number): number;
  pick<T>(items: readonly T[]): T;
  /** one of the keys, each as likely as its weight says */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K;
}

/** mulberry32: 32 bits of state are enough for some thousand draws. */
export const drawFrom = (seed: number): Draw => {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (from: number, to: number): number => from + Math.floor(fraction() * (to - from + 1));
  return {
    fraction,
    whole,
    pick: (items) => {
      if (items.length === 0) throw new RangeError("nothing to pick from");
      return items[whole(0, items.length - 1)] as (typeof items)[number];
    },
    weighted: (weights) => {
      const entries = Object.entries<number>(weights) as [keyof typeof weights, number][];
      let at = fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [key, weight] of entries) {
        at -= weight;
        if (at < 0) return key;
      }
      return (entries.at(-1) as (typeof entries)[number])[0];
    },
  };
};
