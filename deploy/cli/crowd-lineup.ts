/**
 * Same numbers every time: a crowd that can be sent again. Park-Miller. Not the tests' generator (test/harness/draw.ts): what is
 * delivered imports no test, and what a demo sends shall not change with them.
 */
const random = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
};

/** How many buyers click twice, and three times. */
const TWICE = 0.3;
const THRICE = 0.1;
/** A double click comes this close behind the first, as a part of the whole rush. */
const DOUBLE_CLICK = 0.002;

/**
 * The order in which buyers send: everybody once, some two or three times, half of the further ones as double clicks
 * right behind the first, half at any time later.
 * @param first the lowest buyer's number
 */
export const lineUp = (first: number, buyers: number): Uint32Array => {
  const next = random(20_261_122);
  const sends: { readonly buyer: number; readonly at: number }[] = [];
  for (let number = 0; number < buyers; number += 1) {
    const buyer = first + number;
    const at = next();
    const kind = next();
    const times = kind < THRICE ? 3 : kind < TWICE ? 2 : 1;
    sends.push({ buyer, at });
    for (let more = 1; more < times; more += 1)
      sends.push({ buyer, at: next() < 0.5 ? at + next() * DOUBLE_CLICK : at + next() * (1 - at) });
  }
  return Uint32Array.from(sends.sort((one, other) => one.at - other.at).map((send) => send.buyer));
};
