import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { paletteOf } from "../deploy/cli/color.ts";
import { wholeNumber } from "../deploy/cli/option.ts";
import { stopSignal } from "../deploy/cli/stop-signal.ts";
import type { Environment } from "../deploy/local/index.ts";
import { isAsked, planOf } from "./plan.ts";
import { runBench } from "./run.ts";
import { openScreen } from "./screen.ts";
import { resultsText } from "./table.ts";

interface BenchOptions {
  readonly scenario: readonly string[];
  readonly seconds: number;
  readonly runs: number;
  readonly json?: string;
}

/** Conventional exit code after SIGINT. */
const EXIT_STOPPED = 130;

// oxlint-disable-next-line node/no-process-env -- the one place where the bench reads its environment
const environment: Environment = process.env;

const bench = async (options: BenchOptions): Promise<void> => {
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
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
    if (Object.keys(results.scenarios).length < entries.length) process.exitCode = 1;
  } catch (error) {
    screen.end();
    if (!stop.aborted) throw error;
    process.exitCode = EXIT_STOPPED;
  }
};

const program = new Command("bench")
  .description("measure Doorbuster against the limit of this machine and against what people would use instead")
  .option("--scenario <names...>", "only these: refuse, refuse.soldOut, decide ... (default: all)", [])
  .option("--seconds <s>", "how long each side of a measurement is loaded, over all its runs", wholeNumber(1), 6)
  .option("--runs <n>", "runs of each side, in turn with the reference's", wholeNumber(1), 3)
  .option("--json <file>", "write everything that was measured")
  .action(bench);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
