import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { startStack, type Environment, type Stack } from "../local/index.ts";
import { wholeNumber } from "./option.ts";
import { writeReadyFile, type ReadyFile } from "./ready-file.ts";
import { openSale } from "./sale.ts";
import { signTicket } from "../../gateway/index.ts";
import { signingKeys } from "./tickets.ts";
import { stopSignal } from "./stop-signal.ts";

interface StartOptions {
  readonly shards: number;
  readonly redis: number;
  readonly stock: number;
  readonly readyFile?: string;
}

const DAY_MS = 86_400_000;
/** How soon the ready file shows a process that was replaced. */
const REFRESH_MS = 1_000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const openExample = async (stack: Stack, stock: number, stop: AbortSignal): Promise<ReadyFile> => {
  const info = await stack.info();
  const now = Date.now();
  // Named after the run: servers that existed before may hold an older example.
  const sale = `example-${stack.run.slice(0, 8)}`;
  await openSale(
    info,
    {
      id: sale,
      campaign: "example",
      title: "Example sale",
      units: stock,
      priceMinor: 9_900,
      currency: "CNY",
      // A minute ago: the clocks of servers elsewhere may be a little behind.
      opensAtMs: now - 60_000,
      closesAtMs: now + 30 * DAY_MS,
      limitPerBuyer: 1,
      payWithinMs: 0,
    },
    stop,
  );
  return structuredClone({ ...info, sale }) as ReadyFile;
};

/** A purchase by hand that works as it stands: the ticket is good for a day. */
const curlOf = ({ gateway, sale, ticketKeys }: ReadyFile): string => {
  const ticket = signTicket(signingKeys(ticketKeys), { saleId: sale, uid: "alice", expiresAtMs: Date.now() + DAY_MS });
  return `curl -i -X POST -H 'Prefer: wait=2' ${gateway}/buy/${ticket}`;
};

const announce = (ready: ReadyFile, file: string | undefined): void => {
  say("");
  say(`gateway      ${ready.gateway}    (GET /sales/${ready.sale})`);
  say(`admin        ${ready.admin}    (bearer ${ready.adminToken})`);
  say(`coordinator  ${ready.coordinator}`);
  say(`metrics      ${Object.values(ready.metrics).join(" ")}    (gateway, coordinator, workers: GET /metrics)`);
  say(`sale         ${ready.sale}, open`);
  if (file === undefined) say("For tickets and the audit start it with --ready-file FILE.");
  else {
    say(`ticket       npm run -s tickets -- --ready-file ${file} --sale ${ready.sale} --uid alice`);
    say(`audit        npm run -s audit -- --ready-file ${file}`);
  }
  say("");
  say("Buy a unit as alice (201 confirmed; the same again: 200 with the same order id):");
  say(`  ${curlOf(ready)}`);
  say("");
  say("Ctrl-C ends everything.");
};

/** Keeps the file true while processes are replaced, until `stop`. */
export const keepReadyFile = async (stack: Stack, ready: ReadyFile, file: string, stop: AbortSignal): Promise<void> => {
  let written = "";
  while (!stop.aborted) {
    const current = { ...ready, ...(await stack.info()) } as ReadyFile;
    const text = JSON.stringify(current);
    if (text !== written) await writeReadyFile(file, current);
    written = text;
    await delay(REFRESH_MS, undefined, { signal: stop }).catch(() => undefined);
  }
};

const aborted = (stop: AbortSignal): Promise<void> =>
  new Promise((done) => (stop.aborted ? done() : stop.addEventListener("abort", () => done(), { once: true })));

/** Runs the stack with an open example sale until it is stopped. */
const start = async (options: StartOptions, environment: Environment): Promise<void> => {
  const stop = stopSignal();
  const file = options.readyFile === undefined ? undefined : resolve(options.readyFile);
  // One of an earlier run that was killed would look like this one's.
  if (file !== undefined) await rm(file, { force: true });
  let stack: Stack | undefined;
  try {
    stack = await startStack({
      environment,
      say,
      shards: options.shards,
      redis: options.redis,
      abort: stop,
      files: file === undefined ? [] : [file],
    });
    const ready = await openExample(stack, options.stock, stop);
    announce(ready, file);
    if (file === undefined) await aborted(stop);
    else await keepReadyFile(stack, ready, file, stop);
  } catch (error) {
    if (!stop.aborted) throw error;
  } finally {
    if (stack !== undefined) {
      say("stopping: gateway, coordinator, workers, servers");
      await stack.stop();
    }
  }
  say("stopped, nothing is left");
};

/** `doorbuster start` */
export const startCommand = (environment: Environment): Command =>
  new Command("start")
    .description("run everything on this machine, with an open example sale, until stopped")
    .option("--shards <n>", "shards (REDIS_SHARDS goes before)", wholeNumber(1), 2)
    .option("--redis <n>", "Redis servers that the shards are dealt to, at most one a shard", wholeNumber(1), 3)
    .option("--stock <n>", "units of the example sale", wholeNumber(1), 10_000)
    .option("--ready-file <file>", "write where everything is, as JSON, when it is ready; removed at the end")
    .action((options: StartOptions) => start(options, environment));
