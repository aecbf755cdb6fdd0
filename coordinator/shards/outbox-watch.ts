import { formatPosition } from "#lua/core/position";
import type { Look } from "./invariants.ts";

/** How long an outbox has had entries that Postgres lacks without Postgres having come any further, as of the last look. */
export class OutboxWatch {
  #at = "";
  #sinceMs = 0;
  #stillMs = 0;

  get stillMs(): number {
    return this.#stillMs;
  }

  /** @param nowMs of a clock that only goes forward */
  look({ state, row }: Look, nowMs: number): void {
    const at = formatPosition({ epoch: row.epoch, seq: row.applied });
    const isWaiting = state.outboxLength > 0 && state.last !== at;
    if (!isWaiting || at !== this.#at) this.#sinceMs = nowMs;
    this.#at = at;
    this.#stillMs = nowMs - this.#sinceMs;
  }
}
