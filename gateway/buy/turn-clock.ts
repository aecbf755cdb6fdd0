import type { Clock } from "#protocol/ports";
import type { Turn } from "./service-ports.ts";

/** Requests for which one reading is good: together well below a millisecond. */
const MOST_USES = 32;

/**
 * The monotonic clock as a flood may read it: once for up to 32 requests that are handled in the same turn of the event
 * loop, because the reading itself would be a third of what a refusal costs beside its HTTP (80 of 210 ns). It is never
 * ahead, and behind by less than a millisecond: for token buckets and the sold-out lease (100 ms of slack) that is now.
 */
export class TurnClock {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #turn: Turn;
  #nowMs = 0;
  #uses = 0;
  #isTurnWatched = false;

  constructor(clock: Pick<Clock, "monotonicMs">, turn: Turn) {
    this.#clock = clock;
    this.#turn = turn;
  }

  monotonicMs(): number {
    if (this.#uses === 0) this.#read();
    this.#uses -= 1;
    return this.#nowMs;
  }

  #read(): void {
    this.#nowMs = this.#clock.monotonicMs();
    this.#uses = MOST_USES;
    if (this.#isTurnWatched) return;
    this.#isTurnWatched = true;
    this.#turn.atEnd(this.#turnEnds);
  }

  readonly #turnEnds = (): void => {
    this.#isTurnWatched = false;
    this.#uses = 0;
  };
}
