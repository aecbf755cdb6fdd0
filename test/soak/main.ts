import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Command, InvalidArgumentError } from "commander";
import { environment } from "../harness/run.ts";
import { pageOf } from "./page.ts";
import { summaryOf, type SoakReport } from "./report.ts";
import { runSoak } from "./soak.ts";

interface Options {
  readonly minutes: number;
  readonly seed: number;
  readonly report: string;
  readonly shards: number;
  readonly rate: number;
  readonly round: number;
  readonly rest: number;
}

const SEEDS = 2 ** 31;

const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError("It must be a number above 0.");
  return value;
};

const commitHere = (): Promise<string> =>
  promisify(execFile)("git", ["rev-parse", "--short", "HEAD"], { cwd: import.meta.dirname }).then(
    ({ stdout }) => stdout.trim(),
    () => "unknown",
  );

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const write = async (folder: string, report: SoakReport): Promise<void> => {
  await writeFile(join(folder, "soak.json"), `${JSON.stringify(report, undefined, 1)}\n`);
  await writeFile(join(folder, "soak.html"), pageOf(report));
};

const soak = async (options: Options): Promise<void> => {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(name, () => {
      say(`stopped by ${name}`);
      stop.abort(new Error(`stopped by ${name}`));
    });
  }
  const folder = resolve(options.report);
  await mkdir(folder, { recursive: true });
  const { minutes, seed, shards, rate, round, rest } = options;
  const command = `npm run soak -- --minutes ${minutes} --seed ${seed} --shards ${shards} --rate ${rate} --round ${round} --rest ${rest}`;
  say(command);
  const report = await runSoak(
    {
      minutes,
      seed,
      shards,
      buyersPerSecond: rate,
      roundSeconds: round,
      restSeconds: rest,
      folder,
      command,
      commit: await commitHere(),
      environment,
      say,
    },
    stop.signal,
  );
  await write(folder, report);
  say("");
  for (const [what, value] of summaryOf(report)) say(`${what.padEnd(32)}${value}`);
  say(`\n${join(folder, "soak.html")}`);
  if (report.violations.length > 0 || stop.signal.aborted) process.exitCode = 1;
};

await new Command("soak")
  .description(
    "sell round after round on the whole stack while it is killed, paused and cut off, with the auditor alongside; exit 1 on any broken promise",
  )
  .requiredOption("--minutes <m>", "how long", positive)
  .option("--seed <n>", "of the schedule of sales and faults", positive, randomInt(1, SEEDS))
  .option("--report <dir>", "where soak.json and soak.html are written", "soak-report")
  .option("--shards <n>", "Redis servers", positive, 2)
  .option("--rate <n>", "buyers who arrive each second", positive, 100)
  .option("--round <s>", "seconds of faults before all is checked", positive, 45)
  .option("--rest <s>", "seconds after the last fault within which everybody has an answer and all is in Postgres", positive, 120)
  .action(soak)
  .parseAsync();
