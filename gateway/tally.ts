import { OutcomeCode } from "./buy/outcome.ts";

/** How often each outcome was told, by one channel; a scrape reads it. */
export class Tally {
  readonly #counts: Record<OutcomeCode, number>;

  constructor() {
    this.#counts = Object.fromEntries(Object.values(OutcomeCode).map((code) => [code, 0])) as Record<OutcomeCode, number>;
  }

  count(code: OutcomeCode): void {
    this.#counts[code] += 1;
  }

  counts(): Readonly<Record<OutcomeCode, number>> {
    return { ...this.#counts };
  }
}
