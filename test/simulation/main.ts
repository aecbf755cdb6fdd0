#!/usr/bin/env node
import { writeFileSync } from "node:fs";
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError } from "commander";
import { expand } from "./options.ts";
import { runSchedule, runSchedules } from "./runner.ts";
import type { Result } from "./schedule.ts";

const SEEDS = 1_000;

const number = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError("a number from 0");
  return value;
};

interface Flags {
  readonly seeds?: number;
  readonly from: number;
  readonly seconds?: number;
  readonly json?: string;
  readonly seed?: number;
  readonly trace?: boolean;
}

/** What many schedules came to. */
export interface Report {
  readonly seeds: number;
  readonly steps: number;
  /** how often each fault struck, and what the protocol did about it */
  readonly faults: Readonly<Record<string, number>>;
  readonly violations: readonly { readonly seed: number; readonly kind: string; readonly detail: string }[];
  readonly seedsPerSecond: number;
  readonly stepsPerSecond: number;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const tell = ({ options, violations }: Result): void => {
  for (const { kind, detail } of violations) say(`seed ${options.seed}: ${kind}: ${detail}`);
  say(JSON.stringify(options, null, 2));
};

/** Runs seeds until as many have run, or the time is up. */
const simulate = async ({ seeds, from, seconds }: Flags): Promise<Report> => {
  const most = seeds ?? (seconds === undefined ? SEEDS : Number.POSITIVE_INFINITY);
  const bar = new SingleBar({
    format: "{bar} {percentage}% | {count} schedules | {steps} steps/s | {violations} violations",
    noTTYOutput: false,
    clearOnComplete: true,
  });
  const begunMs = performance.now();
  const spentS = (): number => (performance.now() - begunMs) / 1_000;
  const faults: Record<string, number> = {};
  const failed: Result[] = [];
  let given = 0;
  let done = 0;
  let steps = 0;
  bar.start(100, 0, { count: 0, steps: 0, violations: 0 });
  await runSchedules(
    () => {
      if (given >= most || (seconds !== undefined && spentS() >= seconds)) return undefined;
      given += 1;
      return expand(from + given - 1);
    },
    {
      done: (result) => {
        done += 1;
        steps += result.steps;
        for (const [fault, count] of result.faults) faults[fault] = (faults[fault] ?? 0) + count;
        if (result.violations.length > 0) failed.push(result);
        const share = Math.max(seconds === undefined ? 0 : spentS() / seconds, Number.isFinite(most) ? done / most : 0);
        bar.update(Math.min(100, Math.floor(share * 100)), {
          count: done,
          steps: Math.round(steps / spentS()),
          violations: failed.length,
        });
      },
    },
  );
  bar.stop();
  for (const result of failed.slice(0, 3)) tell(result);
  const secondsSpent = spentS();
  return {
    seeds: done,
    steps,
    faults,
    violations: failed.flatMap(({ options, violations }) => violations.map(({ kind, detail }) => ({ seed: options.seed, kind, detail }))),
    seedsPerSecond: Math.round(done / secondsSpent),
    stepsPerSecond: Math.round(steps / secondsSpent),
  };
};

/** One seed, as a trace that can be read, or only what it came to. */
const simulateOne = async (seed: number, trace: boolean): Promise<boolean> => {
  const result = await runSchedule(
    expand(seed),
    undefined,
    trace ? (atMs, line) => say(`${atMs.toFixed(1).padStart(9)} ${line}`) : undefined,
  );
  tell(result);
  say(`${result.steps} steps, hash ${result.hash.toString(16)}, ${result.violations.length} violations`);
  return result.violations.length === 0;
};

const flags = new Command("simulate")
  .description("Runs the protocol code that ships over simulated stores, under a seeded scheduler, and checks what was promised.")
  .option("--seeds <n>", `how many schedules (${SEEDS} by default)`, number)
  .option("--from <seed>", "the first seed", number, 1)
  .option("--seconds <t>", "run for so long", number)
  .option("--json <file>", "write the report there")
  .option("--seed <seed>", "run one schedule", number)
  .option("--trace", "with --seed: show every step that matters")
  .parse()
  .opts<Flags>();

if (flags.seed !== undefined) process.exitCode = (await simulateOne(flags.seed, flags.trace === true)) ? 0 : 1;
else {
  const report = await simulate(flags);
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
  say(
    `${report.seeds} schedules, ${report.steps} steps, ${report.stepsPerSecond} steps/s, ${report.seedsPerSecond} schedules/s, ` +
      `${report.violations.length} violations`,
  );
  if (report.violations.length > 0) process.exitCode = 1;
}
