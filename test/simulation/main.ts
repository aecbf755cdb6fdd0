#!/usr/bin/env node
import { writeFileSync } from "node:fs";
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { hunt } from "./mutations/run.ts";
import { MUTATIONS } from "./mutations/pairs.ts";
import { runSeeds } from "./report.ts";
import { runSchedule } from "./runner.ts";
import type { Result } from "./result.ts";
import { planOf } from "./seed.ts";
import { shrink } from "./shrink.ts";

const SEEDS = 1_000;
const MUTATION_SEEDS = 3_000;
/** Failing seeds that are shrunk and shown; more say the same again. */
const SHOWN = 2;

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
  readonly mutations?: string | true;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const write = (file: string | undefined, value: unknown): void => {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
};

const tell = async (failed: Result): Promise<void> => {
  for (const { kind, detail } of failed.violations) say(`seed ${failed.options.seed}: ${kind}: ${detail}`);
  say(JSON.stringify(failed.options));
  const smallest = await shrink(failed);
  say(`breaks as well, in ${smallest.steps} steps: ${smallest.violations[0]?.detail}`);
  say(JSON.stringify(smallest.options));
};

const simulateMany = async ({ from, seeds, seconds, json }: Flags): Promise<boolean> => {
  const most = seeds ?? (seconds === undefined ? SEEDS : Number.POSITIVE_INFINITY);
  const { report, failed } = await runSeeds({ from, seeds: most, seconds: seconds ?? Number.POSITIVE_INFINITY });
  for (const result of failed.slice(0, SHOWN)) await tell(result);
  write(json, report);
  say(
    `${report.seeds} schedules (${report.messages} of messages), ${report.steps} steps, ${report.violations.length} violations; ` +
      `${report.stepsPerSecond} steps/s, ${report.stepsPerCpuSecond} steps a second of CPU time, ${report.seedsPerSecond} schedules/s`,
  );
  return failed.length === 0;
};

const simulateOne = async (seed: number, trace: boolean): Promise<boolean> => {
  const result = await runSchedule(
    planOf(seed),
    undefined,
    trace ? (atMs, line) => say(`${atMs.toFixed(1).padStart(9)} ${line}`) : undefined,
  );
  if (result.violations.length > 0) await tell(result);
  else say(JSON.stringify(result.options));
  say(`${result.steps} steps, hash ${result.hash.toString(16)}, ${result.violations.length} violations`);
  return result.violations.length === 0;
};

/** What became of a broken rule. */
interface Verdict {
  readonly name: string;
  readonly rule: string;
  readonly seeds: number;
  /** the promise that was broken; null if no schedule broke any */
  readonly by: string | null;
  /** the rules broken together with it, where it took that: alone it is covered by them */
  readonly coveredBy?: string;
}

/** How a rule that no seed misses alone is missed together with those that stand behind it, if it is. */
const coverOf = (name: string, verdicts: readonly Verdict[]): string | undefined => {
  for (const { members = [], name: together } of MUTATIONS) {
    const found = verdicts.find((verdict) => verdict.name === together);
    if (found === undefined || found.by === null || !members.some((member) => member.name === name)) continue;
    const others = members.filter((member) => member.name !== name).map((member) => member.name);
    return `covered by ${others.join(" and ")}: both caught after ${found.seeds} seeds`;
  }
  return undefined;
};

/**
 * Breaks each safety rule in turn and sees how many seeds it takes to notice. A rule that none notices has to be covered: by
 * another one, with which it is broken together, where neither alone breaks the same schedules.
 */
const simulateMutations = async ({ from, seeds, json, mutations }: Flags): Promise<boolean> => {
  const isMeant = (name: string): boolean => mutations === true || name.includes(mutations ?? "");
  const chosen = MUTATIONS.filter(({ name, members = [] }) => isMeant(name) || members.some((member) => isMeant(member.name)));
  const verdicts: Verdict[] = [];
  for (const mutation of chosen) {
    const found = await hunt(mutation, seeds ?? MUTATION_SEEDS, from);
    const by = found.caught?.violation.kind ?? null;
    verdicts.push({ name: mutation.name, rule: mutation.rule, seeds: found.seeds, by });
    say(`${verdicts.length}/${chosen.length} ${mutation.name}: ${by ?? "not caught alone"} after ${found.seeds} seeds`);
  }
  const judged = verdicts.map((verdict): Verdict => {
    const coveredBy = verdict.by === null ? coverOf(verdict.name, verdicts) : undefined;
    return coveredBy === undefined ? verdict : Object.assign({}, verdict, { coveredBy });
  });
  const table = new Table({ head: ["broken rule", "schedules", "seeds", "by"] });
  for (const [i, { name, seeds: ran, by, coveredBy }] of judged.entries())
    table.push([name, chosen[i]?.scene ?? chosen[i]?.profile?.name ?? "mixed", ran, by ?? coveredBy ?? "NOT CAUGHT"]);
  say(table.toString());
  write(json, judged);
  const missed = judged.filter(({ by, coveredBy }) => by === null && coveredBy === undefined);
  say(`${judged.length} mutations: ${judged.filter(({ by }) => by !== null).length} caught, ${missed.length} neither caught nor covered`);
  return judged.length > 0 && missed.length === 0;
};

const flags = new Command("simulate")
  .description("Runs the protocol code that ships over simulated stores, under a seeded scheduler, and checks what was promised.")
  .option("--seeds <n>", `how many schedules (${SEEDS} by default; ${MUTATION_SEEDS} a mutation)`, number)
  .option("--from <seed>", "the first seed", number, 1)
  .option("--seconds <t>", "run for so long", number)
  .option("--json <file>", "write the report there")
  .option("--seed <seed>", "run one schedule", number)
  .option("--trace", "with --seed: show what happens")
  .option("--mutations [name]", "break each safety rule, or those whose name has this in it, and see that a seed catches it")
  .parse()
  .opts<Flags>();

const simulate = (): Promise<boolean> => {
  if (flags.seed !== undefined) return simulateOne(flags.seed, flags.trace === true);
  return flags.mutations === undefined ? simulateMany(flags) : simulateMutations(flags);
};

process.exitCode = (await simulate()) ? 0 : 1;
