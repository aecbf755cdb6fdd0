import { rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command } from "commander";
import { startStack, type Environment, type Stack } from "../local/index.ts";
import { auditText } from "./audit-text.ts";
import { paletteOf, type Palette } from "./color.ts";
import { openScreen, type Screen } from "./demo-screen.ts";
import { isSound, reportText } from "./demo-report.ts";
import { runDemo, type DemoSale } from "./demo-run.ts";
import { wholeNumber } from "./option.ts";
import { writeReadyFile, type ReadyFile } from "./ready-file.ts";
import { openSale } from "./sale.ts";
import { keepReadyFile } from "./start.ts";
import { stopSignal } from "./stop-signal.ts";

interface DemoOptions {
  readonly stock: number;
  readonly buyers: number;
  readonly sales: number;
  readonly shards: number;
  readonly redis: number;
  readonly report?: string;
  readonly readyFile?: string;
  readonly keep?: true;
}

const DAY_MS = 86_400_000;
/** Conventional exit code after SIGINT. */
const EXIT_STOPPED = 130;

const splitStock = (options: DemoOptions, run: string): DemoSale[] =>
  Array.from({ length: options.sales }, (_, index) => ({
    id: options.sales === 1 ? `demo-${run.slice(0, 8)}` : `demo-${run.slice(0, 8)}-${index + 1}`,
    units: Math.floor(options.stock / options.sales) + (index < options.stock % options.sales ? 1 : 0),
  }));

const openSales = async (stack: Stack, sales: readonly DemoSale[], stop: AbortSignal): Promise<ReadyFile> => {
  const info = await stack.info();
  const now = Date.now();
  await Promise.all(
    sales.map(({ id, units }, index) =>
      openSale(
        info,
        {
          id,
          campaign: "demo",
          title: `Demo item ${index + 1}`,
          units,
          priceMinor: 9_900,
          currency: "CNY",
          // a minute ago: the clocks of servers elsewhere may be a little behind
          opensAtMs: now - 60_000,
          closesAtMs: now + 30 * DAY_MS,
          limitPerBuyer: 1,
          payWithinMs: 0,
        },
        stop,
      ),
    ),
  );
  return structuredClone({ ...info, sale: sales[0]?.id ?? "" }) as ReadyFile;
};

const untilStopped = (stop: AbortSignal): Promise<void> =>
  new Promise((done) => (stop.aborted ? done() : stop.addEventListener("abort", () => done(), { once: true })));

interface Stage {
  readonly screen: Screen;
  readonly palette: Palette;
  readonly stop: AbortSignal;
}

const show = async (stack: Stack, file: string | undefined, options: DemoOptions, { screen, palette, stop }: Stage): Promise<void> => {
  const sales = splitStock(options, stack.run);
  const ready = await openSales(stack, sales, stop);
  // Before the crowd comes: it leaves this process little time for anything else.
  if (file !== undefined) await writeReadyFile(file, ready);
  const fileEnd = new AbortController();
  const keeping = file === undefined ? undefined : keepReadyFile(stack, ready, file, fileEnd.signal);
  try {
    const { report, audited, contradictions, unanswered } = await runDemo({
      ready,
      sales,
      stock: options.stock,
      buyers: options.buyers,
      restarts: () => stack.restarts,
      emptiedAtMs: (shard) => stack.emptiedAtMs(shard),
      screen,
      stop,
    });
    screen.say(`\n${auditText(audited, palette)}`);
    for (const line of contradictions) screen.say(palette.bad(`contradiction: ${line}`));
    if (unanswered > 0) screen.say(palette.bad(`${unanswered} buyers went home without a definite answer`));
    screen.say(reportText(report, palette));
    if (options.report !== undefined) await writeFile(options.report, `${JSON.stringify(report, undefined, 2)}\n`);
    if (!isSound(report) || contradictions.length > 0 || unanswered > 0) process.exitCode = 1;
    if (options.keep !== true) return;
    screen.say(`\nstill running: ${ready.gateway}/sales/${ready.sale}; Ctrl-C ends everything`);
    await untilStopped(stop);
  } finally {
    fileEnd.abort();
    await keeping;
  }
};

const demo = async (options: DemoOptions, environment: Environment): Promise<void> => {
  if (options.sales > options.stock || options.sales > options.buyers)
    throw new Error(`${options.sales} sales need at least as many units and buyers`);
  const stop = stopSignal();
  const palette = paletteOf(process.stdout, environment);
  const screen = openScreen(process.stdout, palette);
  const say = (line: string): void => screen.say(line);
  const file = options.readyFile === undefined ? undefined : resolve(options.readyFile);
  // one of an earlier run that was killed would look like this one's
  if (file !== undefined) await rm(file, { force: true });
  let stack: Stack | undefined;
  let isShown = false;
  try {
    stack = await startStack({
      environment,
      say,
      shards: options.shards,
      redis: options.redis,
      abort: stop,
      files: file === undefined ? [] : [file],
    });
    await show(stack, file, options, { screen, palette, stop });
    isShown = true;
  } catch (error) {
    if (!stop.aborted) throw error;
  } finally {
    screen.end();
    if (stack !== undefined) {
      say("stopping: gateway, coordinator, workers, servers");
      await stack.stop();
      say("stopped, nothing is left");
    }
  }
  if (!isShown) process.exitCode = EXIT_STOPPED;
};

/** `doorbuster demo` */
export const demoCommand = (environment: Environment): Command =>
  new Command("demo")
    .description("sell out on this machine: everything is started, a crowd comes, and the books are audited; exit 1 if they do not balance")
    .option("--stock <n>", "units, over all sales", wholeNumber(1), 10_000)
    .option("--buyers <n>", "buyers, over all sales", wholeNumber(1), 100_000)
    .option("--sales <n>", "sales at the same time", wholeNumber(1), 1)
    .option("--shards <n>", "shards (REDIS_SHARDS goes before)", wholeNumber(1), 2)
    .option("--redis <n>", "Redis servers that the shards are dealt to, at most one a shard", wholeNumber(1), 3)
    .option("--report <file>", "write the numbers as JSON")
    .option("--ready-file <file>", "write where everything is, as JSON, when the sale opens; removed at the end")
    .option("--keep", "leave everything running afterwards, until Ctrl-C")
    .action((options: DemoOptions) => demo(options, environment));
