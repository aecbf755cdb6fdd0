import { OutcomeCode } from "./outcome.ts";

/** How often each outcome was answered; plain numbers that the hot path raises, read when somebody scrapes. */
export type OutcomeCounts = Record<OutcomeCode, number>;

export const zeroCounts = (): OutcomeCounts => Object.fromEntries(Object.values(OutcomeCode).map((code) => [code, 0])) as OutcomeCounts;
