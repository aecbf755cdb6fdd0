import { SingleBar } from "cli-progress";
import { runSchedules } from "./runner.ts";
import type { Result } from "./result.ts";
import { planOf } from "./seed.ts";

/** What many schedules came to. */
interface Report {
  readonly seeds: number;
  /** how many of them were schedules of the two-phase messages */
  readonly messages: number;
  readonly steps: number;
  /** how often each fault struck, and what the protocol did about it */
  readonly faults: Readonly<Record<string, number>>;
  readonly violations: readonly { readonly seed: number; readonly kind: string; readonly detail: string }[];
  readonly seedsPerSecond: number;
  readonly stepsPerSecond: number;
  /** of this process's own CPU time: what a core does when nobody else uses it */
  readonly stepsPerCpuSecond: number;
}

export interface Run {
  readonly report: Report;
  readonly failed: readonly Result[];
}

export interface RunLimits {
  readonly from: number;
  /** most schedules; Infinity for as many as the time allows */
  readonly seeds: number;
  readonly seconds: number;
}

const MICROSECONDS = 1_000_000;
const SHOW_MS = 100;

/** Runs seeds until as many have run, or the time is up, with a progress bar. */
export const runSeeds = async ({ from, seeds, seconds }: RunLimits): Promise<Run> => {
  const bar = new SingleBar({
    format: "{bar} {percentage}% | {count} schedules | {steps} steps/s | {violations} violations",
    clearOnComplete: true,
  });
  const begunMs = performance.now();
  const cpu = process.cpuUsage();
  const spentS = (): number => (performance.now() - begunMs) / 1_000;
  const faults: Record<string, number> = {};
  const failed: Result[] = [];
  let given = 0;
  let done = 0;
  let steps = 0;
  let messages = 0;
  let shownMs = 0;
  bar.start(100, 0, { count: 0, steps: 0, violations: 0 });
  await runSchedules(() => (given < seeds && spentS() < seconds ? planOf(from + given++) : undefined), {
    done: (result) => {
      done += 1;
      steps += result.steps;
      if ("scene" in result.options) messages += 1;
      for (const [fault, count] of result.faults) faults[fault] = (faults[fault] ?? 0) + count;
      if (result.violations.length > 0) failed.push(result);
      if (performance.now() - shownMs < SHOW_MS) return;
      shownMs = performance.now();
      const share = Math.min(1, Math.max(spentS() / seconds, done / seeds));
      bar.update(Math.floor(share * 100), { count: done, steps: Math.round(steps / spentS()), violations: failed.length });
    },
  });
  bar.stop();
  const { user, system } = process.cpuUsage(cpu);
  return {
    report: {
      seeds: done,
      messages,
      steps,
      faults,
      violations: failed.flatMap(({ options, violations }) => violations.map(({ kind, detail }) => ({ seed: options.seed, kind, detail }))),
      seedsPerSecond: Math.round(done / spentS()),
      stepsPerSecond: Math.round(steps / spentS()),
      stepsPerCpuSecond: Math.round((steps * MICROSECONDS) / (user + system)),
    },
    failed,
  };
};
