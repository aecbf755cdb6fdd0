import { OutcomeCode, type Outcome } from "./outcome.ts";

const SECOND_MS = 1_000;

/** `rate_limited` for each number of seconds, made once. */
const RATE_LIMITED: readonly Outcome[] = Array.from({ length: 61 }, (_, seconds) =>
  Object.freeze({ code: OutcomeCode.rateLimited, retryAfterMs: Math.max(1, seconds) * SECOND_MS }),
);

/** @param waitMs until the bucket has a token; a minute is the most that anybody is told */
export const rateLimited = (waitMs: number): Outcome => RATE_LIMITED[Math.min(60, Math.ceil(waitMs / SECOND_MS))] as Outcome;
