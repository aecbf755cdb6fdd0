import type { Clock } from "#protocol/ports";

/** A pause that can be cut short. A ring while nobody pauses cuts the next pause. */
export class Alarm {
  private readonly clock: Clock;
  private controller = new AbortController();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  ring(): void {
    this.controller.abort();
  }

  async pause(ms: number, stop: AbortSignal): Promise<void> {
    if (stop.aborted) return;
    const end = (): void => this.ring();
    stop.addEventListener("abort", end, { once: true });
    await this.clock.sleep(ms, this.controller.signal);
    stop.removeEventListener("abort", end);
    this.controller = new AbortController();
  }
}
