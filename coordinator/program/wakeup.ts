import type { Clock } from "#protocol/ports";

/** A sleep that an event can end early, for a loop of one. An event that comes while nobody sleeps ends the next sleep at once. */
export class Wakeup {
  readonly #clock: Clock;
  #controller = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    this.#controller.abort();
  }

  /** Resolves after `ms`, with the event, or on `stop`; never rejects. */
  async wait(ms: number, stop: AbortSignal): Promise<void> {
    if (stop.aborted) return;
    const controller = this.#controller;
    const end = (): void => controller.abort();
    stop.addEventListener("abort", end, { once: true });
    await this.#clock.sleep(ms, controller.signal);
    stop.removeEventListener("abort", end);
    if (controller.signal.aborted) this.#controller = new AbortController();
  }
}
