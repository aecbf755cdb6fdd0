import cluster, { type Worker } from "node:cluster";
import { KnownViolations } from "./violations.ts";
import type { Log } from "./log.ts";

export interface GuardOptions {
  readonly log: Log;
  readonly stop: AbortSignal;
}

/** Resolves when the process is gone and all that it sent has been heard. */
const gone = (worker: Worker): Promise<unknown> =>
  Promise.all([
    new Promise<void>((resolve) => (worker.isDead() ? resolve() : worker.once("exit", () => resolve()))),
    new Promise<void>((resolve) => (worker.isConnected() ? worker.once("disconnect", () => resolve()) : resolve())),
  ]);

/**
 * The primary of a program that is one process: it remembers the invariant violations that this process found (violations.ts). One that ended for one
 * is replaced; for every other end this process ends in the same way, so that whoever started it sees what it would see without us.
 */
export const guardProcess = async ({ log, stop }: GuardOptions): Promise<void> => {
  const violations = new KnownViolations();
  for (let ends = 0; ; ends += 1) {
    // A crash point is for the first process only: whoever replaces it goes on.
    const worker = cluster.fork({ ...violations.environment(), ...(ends > 0 ? { DOORBUSTER_CRASH_AT: "" } : {}) });
    let hasViolated = false;
    worker.on("message", (message) => {
      if (violations.hear(message, worker)?.isNew) hasViolated = true;
    });
    // Unheard it would end the primary.
    worker.on("error", (error) => log.warn({ err: error.message }, "a message to the process was not delivered"));
    const end = (): void => void worker.process.kill("SIGTERM");
    stop.addEventListener("abort", end, { once: true });
    if (stop.aborted) end();
    await gone(worker);
    stop.removeEventListener("abort", end);
    const { exitCode, signalCode } = worker.process;
    if (hasViolated && !stop.aborted) {
      log.error({ code: exitCode, signal: signalCode, ends: ends + 1 }, "process ended after an invariant violation, starting another");
      continue;
    }
    if (signalCode !== null) process.kill(process.pid, signalCode);
    process.exitCode = exitCode ?? 0;
    return;
  }
};
