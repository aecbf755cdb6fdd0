import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { paletteOf } from "../deploy/cli/color.ts";
import { wholeNumber } from "../deploy/cli/option.ts";
import { stopSignal } from "../deploy/cli/stop-signal.ts";
import type { Environment } from "../deploy/local/index.ts";
import { judge, readBaseline, verdictText, writeBaseline } from "./check.ts";
import { markdownOf, summaryOf, writeMeasured } from "./markdown.ts";
import { isAsked, planOf } from "./plan.ts";
import { writeReport } from "./report/page.ts";
import { resultsSchema, type Results } from "./results.ts";
import { runBench } from "./run.ts";
import { openScreen } from "./screen.ts";
import { resultsText } from "./table.ts";

interface BenchOptions {
  readonly scenario: readonly string[];
  readonly seconds: number;
  readonly runs: number;
  readonly json?: string;
  readonly report?: string;
  readonly check?: true;
  readonly baseline?: true;
  readonly readme?: true;
  readonly from?: string;
}

/** Beside the sources: it is committed. */
const BASELINE = fileURLToPath(new URL("../../bench/baseline.json", import.meta.url));
const README = fileURLToPath(new URL("../../bench/README.md", import.meta.url));
const FRONT_PAGES = {
  en: fileURLToPath(new URL("../../README.md", import.meta.url)),
  zh: fileURLToPath(new URL("../../README.zh-CN.md", import.meta.url)),
} as const;
/** Conventional exit code after SIGINT. */
const EXIT_STOPPED = 130;

// oxlint-disable-next-line node/no-process-env -- the one place where the bench reads its environment
const environment: Environment = process.env;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const keep = async (results: Results, { json, report, check, baseline, readme }: BenchOptions): Promise<void> => {
  if (json !== undefined) {
    await mkdir(dirname(json), { recursive: true });
    await writeFile(json, `${JSON.stringify(results, undefined, 2)}\n`);
  }
  if (report !== undefined) say(`report: ${await writeReport(report, results)}`);
  if (check === true) {
    const verdicts = judge(results.scenarios, await readBaseline(BASELINE));
    say(verdicts.length === 0 ? "nothing to compare: the baseline has none of these" : verdictText(verdicts));
    if (verdicts.some(({ kind }) => kind === "worse")) process.exitCode = 1;
  }
  if (baseline === true) await writeBaseline(BASELINE, results);
  if (readme === true) {
    await writeMeasured(README, markdownOf(results));
    await writeMeasured(FRONT_PAGES.en, summaryOf(results));
    await writeMeasured(FRONT_PAGES.zh, summaryOf(results, "zh"));
  }
};

/** Shows and keeps again what was measured before. */
const showAgain = async (file: string, options: BenchOptions): Promise<void> => {
  const results = resultsSchema.parse(JSON.parse(await readFile(file, "utf8")));
  process.stdout.write(resultsText(results, paletteOf(process.stdout, environment)));
  await keep(results, options);
};

const bench = async (options: BenchOptions): Promise<void> => {
  if (options.from !== undefined) {
    await showAgain(options.from, options);
    return;
  }
  const asked = options.scenario.flatMap((names) => names.split(","));
  const scenarios = planOf(asked);
  const stop = stopSignal();
  const palette = paletteOf(process.stdout, environment);
  const entries = scenarios.flatMap((scenario) => scenario.entries).filter((entry) => isAsked(asked, entry));
  const screen = openScreen(process.stdout, palette, entries.length);
  const command = ["npm run bench", ...(process.argv.length > 2 ? ["--", ...process.argv.slice(2)] : [])].join(" ");
  try {
    const results = await runBench({ ...options, environment, scenarios, asked, command, screen, stop });
    screen.end();
    process.stdout.write(resultsText(results, palette));
    await keep(results, options);
    if (results.broken.length > 0) process.exitCode = 1;
  } catch (error) {
    screen.end();
    if (!stop.aborted) throw error;
    process.stderr.write(`${(stop.reason as Error).message}\n`);
    process.exitCode = EXIT_STOPPED;
  }
};

const program = new Command("bench")
  .description("measure Doorbuster against the limit of this machine and against what people would use instead")
  .option("--scenario <names...>", "only these: refuse, refuse.soldOut, decide ... (default: all)", [])
  .option("--seconds <s>", "how long each side of a measurement is loaded, over all its runs", wholeNumber(1), 6)
  .option("--runs <n>", "runs of each side, in turn with the reference's", wholeNumber(1), 3)
  .option("--json <file>", "write everything that was measured")
  .option("--report <folder>", "write a page with plots and the data behind it")
  .option("--check", "compare the ratios with bench/baseline.json; exit 1 if one is worse than its stated spread allows")
  .option("--readme", "write the table into bench/README.md and the targets into README.md (then: npm run format)")
  .option("--from <file>", "measure nothing: take what --json wrote")
  .option("--baseline", "write bench/baseline.json from this run")
  .action(bench);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
