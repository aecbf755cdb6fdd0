import { setTimeout as delay } from "node:timers/promises";
import type { Part } from "./part.ts";
import type { Run } from "./run.ts";

const RESTART_AFTER_MS = 2_000;

export type PartEvent =
  | { readonly kind: "died"; readonly part: string; readonly how: string }
  | { readonly kind: "restarted"; readonly part: string };

/** Watches running parts: one that dies is started again on the same port and folder, said aloud and counted. */
export class Supervisor {
  readonly #run: Run;
  readonly #onEvent: (event: PartEvent) => void;
  readonly #restartAfterMs: number;
  readonly #ending = new AbortController();
  readonly #loops: Promise<void>[] = [];
  #restarts = 0;

  constructor(run: Run, onEvent: (event: PartEvent) => void, restartAfterMs = RESTART_AFTER_MS) {
    this.#run = run;
    this.#onEvent = onEvent;
    this.#restartAfterMs = restartAfterMs;
  }

  /** how often anything was started again */
  get restarts(): number {
    return this.#restarts;
  }

  watch(part: Part): void {
    this.#loops.push(this.#keepRunning(part));
  }

  /** From here on nothing is started again. */
  end(): void {
    this.#ending.abort();
  }

  /** Resolves when no restart is under way any more: call it when the parts have been stopped. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops);
  }

  async #keepRunning(part: Part): Promise<void> {
    const { signal } = this.#ending;
    const say = (line: string): void => this.#run.say(`${part.name} ${line}`);
    for (;;) {
      const how = await part.ended;
      if (signal.aborted) return;
      part.sweep();
      this.#restarts += 1;
      say(`died (${how}); it is started again in ${this.#restartAfterMs / 1_000} s (restart ${this.#restarts} of this run)`);
      this.#onEvent({ kind: "died", part: part.name, how });
      await delay(this.#restartAfterMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await part.launch();
        // Not killed if it takes long: a Redis that loads a large file, or a program whose server is away, is not dead.
        await part.ready();
        say("runs again");
        this.#onEvent({ kind: "restarted", part: part.name });
      } catch (error) {
        if (signal.aborted) return;
        say(`is not ready: ${(error as Error).message}`);
      }
    }
  }
}
