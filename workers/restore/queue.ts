import type { Clock } from "../../coordinator/protocol/ports.ts";
import type { Progress } from "./restore.ts";

/** Each holds a connection for its whole time; the lanes need theirs. */
const AT_ONCE = 2;
/** Well below the 5 s without progress after which the asker gives up. */
const WAITING_MS = 1_000;

/** Runs a few restores at a time; those that wait say so. */
export class RestoreQueue {
  private readonly clock: Clock;
  private running = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async run<T>(work: () => Promise<T>, progress: Progress): Promise<T> {
    while (this.running >= AT_ONCE) {
      progress(0, 0);
      await this.clock.sleep(WAITING_MS);
    }
    this.running += 1;
    try {
      return await work();
    } finally {
      this.running -= 1;
    }
  }
}
