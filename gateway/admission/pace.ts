/**
 * A token bucket as one number (GCRA, ITU-T I.371): `full` is the moment at which the bucket will be full again.
 * Taking a token moves it one interval further; a token is there while it is less than the burst away. Exactly the
 * token bucket of `burst` tokens refilled evenly at `rate` a second, without anything that has to be refilled.
 */
export interface Pace {
  /** ms between two tokens; 0 = no limit */
  readonly intervalMs: number;
  /** how far ahead `full` may be for one more token to be there: (burst - 1) intervals */
  readonly toleranceMs: number;
}

/**
 * @param rate tokens a second; 0 = no limit
 * @param burst tokens in a full bucket, at least 1
 */
export const pace = (rate: number, burst: number): Pace => {
  const intervalMs = rate === 0 ? 0 : 1_000 / rate;
  return { intervalMs, toleranceMs: (burst - 1) * intervalMs };
};

/** Adding up intervals of a rate like 3/s loses some last bits: a token that is this near is there. */
const EPSILON_MS = 1e-6;

/** @returns ms until a token is there, 0 if there is one now */
export const waitMs = (pace: Pace, fullMs: number, nowMs: number): number => {
  const wait = fullMs - nowMs - pace.toleranceMs;
  return wait <= EPSILON_MS ? 0 : wait;
};

/** @returns when the bucket will be full after one more token is taken */
export const taken = (pace: Pace, fullMs: number, nowMs: number): number => (fullMs > nowMs ? fullMs : nowMs) + pace.intervalMs;
