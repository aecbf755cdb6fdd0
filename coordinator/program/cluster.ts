import cluster, { type Worker } from "node:cluster";
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { Invariant } from "#lua/core/invariant";
import { KnownViolations } from "./violations.ts";
import type { Log } from "./log.ts";
import { allProblems, heardProblems, type PlacedProblem } from "./setting-problems.ts";

const BACKOFF_FIRST_MS = 100;
const BACKOFF_MOST_MS = 5_000;
/** A process that lived this long was healthy: its next death starts the back-off anew. */
const HEALTHY_MS = 10_000;

export interface ClusterState {
  readonly ready: number;
  readonly restarts: number;
  readonly settings: readonly PlacedProblem[];
}

export interface ClusterOptions {
  /** 0 = one per core */
  readonly processes: number;
  readonly log: Log;
  readonly stop: AbortSignal;
  /** told to all processes (program.ts) */
  readonly hurry: AbortSignal;
  /** how long a process may take to stop before it is killed */
  readonly stopWithinMs: number;
  /** called whenever the count of ready processes or of restarts changed, or what they find wrong with the stores' settings */
  readonly onChange?: (state: ClusterState) => void;
  /** called when a process found an invariant violated, so many times */
  readonly onViolation?: (invariant: Invariant, times: number) => void;
}

/** What a process sends to its primary when it is ready to serve. */
export const READY = "ready";
/** What a primary sends to its processes when they are to stop without waiting for anybody. */
export const HURRY = "hurry";

const exited = (worker: Worker): Promise<void> =>
  new Promise((resolve) => (worker.isDead() ? resolve() : worker.once("exit", () => resolve())));

const eachProcess = (act: (worker: Worker) => void): void => {
  for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) act(worker);
};

/** Kills those that are still there after so long, unless `ended` is aborted first. */
const killAfter = (ms: number, ended: AbortSignal): Promise<void> =>
  delay(ms, undefined, { signal: ended }).then(
    () => eachProcess((worker) => worker.process.kill("SIGKILL")),
    () => undefined,
  );

/**
 * The primary of a cluster: keeps `processes` copies of the program running, replaces a dead one with growing delay,
 * remembers for all of them the invariant violations they found (violations.ts), and on `stop` lets all of them finish. Resolves when the last has ended.
 */
export const superviseCluster = async (options: ClusterOptions): Promise<void> => {
  const { log, stop, hurry } = options;
  const size = options.processes === 0 ? availableParallelism() : options.processes;
  const ready = new Set<Worker>();
  const violations = new KnownViolations();
  const problems = new Map<number, readonly PlacedProblem[]>();
  let restarts = 0;
  const changed = (): void => options.onChange?.({ ready: ready.size, restarts, settings: allProblems(problems.values()) });
  /** what a process tells */
  const hear = (slot: number, worker: Worker, message: unknown): void => {
    if (message === READY) ready.add(worker);
    const heard = heardProblems(message);
    if (heard !== undefined) problems.set(slot, heard);
    if (message === READY || heard !== undefined) changed();
    const found = violations.hear(message, worker);
    if (found !== undefined) options.onViolation?.(found.invariant, found.times);
  };

  const runSlot = async (slot: number): Promise<void> => {
    let backoffMs = BACKOFF_FIRST_MS;
    let deaths = 0;
    while (!stop.aborted) {
      const startedAt = performance.now();
      // A crash point is for the first process only: whoever replaces it goes on.
      const worker = cluster.fork({ ...violations.environment(), ...(deaths > 0 ? { DOORBUSTER_CRASH_AT: "" } : {}) });
      worker.on("message", (message) => hear(slot, worker, message));
      // A message to a process that has just died (a metrics scrape, say) fails here; unheard it would end the primary.
      worker.on("error", (error) => log.warn({ slot, err: error.message }, "a message to a process was not delivered"));
      const end = (): void => void worker.process.kill("SIGTERM");
      stop.addEventListener("abort", end, { once: true });
      await exited(worker);
      stop.removeEventListener("abort", end);
      ready.delete(worker);
      if (stop.aborted) return;
      restarts += 1;
      deaths += 1;
      changed();
      if (performance.now() - startedAt > HEALTHY_MS) backoffMs = BACKOFF_FIRST_MS;
      log.error(
        { slot, code: worker.process.exitCode, signal: worker.process.signalCode, restarts, backoffMs },
        "process died, starting another",
      );
      await delay(backoffMs, undefined, { signal: stop }).catch(() => undefined);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MOST_MS);
    }
  };

  hurry.addEventListener("abort", () => eachProcess((worker) => worker.send(HURRY)), { once: true });
  const slots = Promise.all(Array.from({ length: size }, (_, slot) => runSlot(slot)));
  const ended = new AbortController();
  stop.addEventListener("abort", () => void killAfter(options.stopWithinMs, ended.signal), { once: true });
  await slots;
  ended.abort();
};

/** In a process of the cluster: tells the primary that this one serves. */
export const tellReady = (): void => void process.send?.(READY);
