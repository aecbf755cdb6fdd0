import type { Clock } from "#protocol/ports";
import type { Progress } from "./restore.ts";

/** Each holds a connection for its whole time; the appliers need theirs. */
const AT_ONCE = 2;
/** Well below the 5 s without progress after which the asker gives up. */
const WAITING_MS = 1_000;

/** Runs a few restores at a time, in the order in which they came; those that wait say so. */
export class RestoreQueue {
  readonly #clock: Clock;
  #running = 0;
  readonly #waiting = new Set<AbortController>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async run<T>(work: () => Promise<T>, progress: Progress): Promise<T> {
    if (this.#running < AT_ONCE) this.#running += 1;
    else await this.#waitForPlace(progress);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Resolves when one that runs has left its place to this one. */
  async #waitForPlace(progress: Progress): Promise<void> {
    const place = new AbortController();
    this.#waiting.add(place);
    try {
      while (!place.signal.aborted) {
        progress(0, 0);
        await this.#clock.sleep(WAITING_MS, place.signal);
      }
    } finally {
      // one that cannot say that it waits gets no place
      this.#waiting.delete(place);
    }
  }

  /** A shard that waits is closed: the next begins at once. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next.abort();
  }
}
