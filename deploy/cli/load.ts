import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { Command } from "commander";
import { z } from "zod";
import { isId } from "#protocol";
import { readConfig } from "#program";
import { ticketKeys, type TicketKeys } from "../../gateway/index.ts";
import type { Environment } from "../local/index.ts";
import { Exit } from "./admin.ts";
import { paletteOf, type Palette } from "./color.ts";
import { Crowd } from "./crowd.ts";
import { openScreen, type Screen } from "./demo-screen.ts";
import { isLoadSound, loadReport, loadText } from "./load-report.ts";
import { loadTarget } from "./load-target.ts";
import { wholeNumber } from "./option.ts";
import { readReadyFile } from "./ready-file.ts";
import { stopSignal } from "./stop-signal.ts";
import { signingKeys } from "./tickets.ts";

interface LoadOptions {
  readonly url: string;
  readonly sale: readonly string[];
  readonly buyers: number;
  readonly rate: number;
  readonly sockets?: number;
  readonly connections: number;
  readonly ticketKeysFile?: string;
  readonly readyFile?: string;
  readonly report?: string;
  readonly yesIOwnIt?: true;
}

/** Each buyer's answers are kept: 2,000,000 are about 400 MB. */
const MOST_BUYERS = 2_000_000;
const MOST_RATE = 200_000;
const MOST_SOCKETS = 5_000;
const MOST_CONNECTIONS = 5_000;
/** Tickets are good for an hour. */
const MOST_RUSH_S = 3_000;
/** "A few hundred WebSocket buyers", fewer in a small crowd. */
const SOCKETS = 300;
const SOCKETS_PART = 10;
const ANSWER_WITHIN_MS = 8_000;
const SHOW_EVERY_MS = 250;
/** Conventional exit code after SIGINT. */
const EXIT_STOPPED = 130;

/** Nothing could be sent: the gateway does not answer. */
class GatewayAway extends Error {
  readonly exitCode = Exit.unknown;
}

const keysOf = async (options: LoadOptions, environment: Environment): Promise<TicketKeys> => {
  if (options.ticketKeysFile !== undefined) return signingKeys((await readFile(options.ticketKeysFile, "utf8")).trimEnd());
  if (options.readyFile !== undefined) return signingKeys((await readReadyFile(options.readyFile)).ticketKeys);
  return ticketKeys(readConfig(["DOORBUSTER_TICKET_KEYS"], environment).DOORBUSTER_TICKET_KEYS);
};

const saleSchema = z.object({ totalUnits: z.int() });

/** Units of a sale as the gateway shows it. @throws Error if it does not know the sale, GatewayAway if it does not answer */
const unitsOf = async (gateway: string, saleId: string): Promise<number> => {
  let response: Response;
  try {
    response = await fetch(`${gateway}/sales/${saleId}`, {
      headers: { connection: "close" },
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch (error) {
    throw new GatewayAway(`${gateway} does not answer`, { cause: error });
  }
  const text = await response.text();
  if (response.status === 404) throw new Error(`${gateway} knows no sale ${saleId}`);
  try {
    return saleSchema.parse(JSON.parse(text)).totalUnits;
  } catch (error) {
    throw new GatewayAway(`${gateway} answered ${response.status} to GET /sales/${saleId}, as no gateway of ours does`, { cause: error });
  }
};

interface Aim {
  readonly gateway: string;
  readonly keys: TicketKeys;
  readonly sockets: number;
  /** of all sales */
  readonly units: number;
}

/** Everything that can be refused is refused before anything is sent. */
const aim = async (options: LoadOptions, environment: Environment): Promise<Aim> => {
  const { sale: sales, buyers, rate } = options;
  for (const id of sales) if (!isId(id)) throw new Error(`--sale ${JSON.stringify(id)} is not a sale id (A-Z a-z 0-9 _ -, at most 64)`);
  const sockets = options.sockets ?? Math.min(SOCKETS, Math.floor(buyers / SOCKETS_PART));
  if (sockets > buyers) throw new Error(`--sockets ${sockets} is more than --buyers ${buyers}`);
  if (buyers > rate * MOST_RUSH_S)
    throw new Error(`${buyers} buyers at ${rate} a second take longer than their tickets are good: at most ${MOST_RUSH_S} s`);
  const gateway = await loadTarget(options.url, options.yesIOwnIt === true);
  const keys = await keysOf(options, environment);
  let units = 0;
  for (const id of sales) units += await unitsOf(gateway, id);
  return { gateway, keys, sockets, units };
};

/** The screen, kept up to date while the crowd buys and asks; ends with `end`. */
const watch = (screen: Screen, crowd: Crowd, confirmed: () => number): { end(): void } => {
  let answers = 0;
  let shownAt = performance.now();
  const timer = setInterval(() => {
    const { ledger } = crowd;
    const now = performance.now();
    const heard = ledger.counts.requests - ledger.counts.errors;
    const decisionsPerSecond = Math.round(((heard - answers) * 1_000) / Math.max(1, now - shownAt));
    screen.show({ answered: ledger.answered, reserved: ledger.counts.reserved, confirmed: confirmed(), decisionsPerSecond, left: null });
    answers = heard;
    shownAt = now;
  }, SHOW_EVERY_MS);
  return {
    end: () => {
      clearInterval(timer);
      screen.end();
    },
  };
};

const send = async (options: LoadOptions, { gateway, keys, sockets, units }: Aim, screen: Screen, stop: AbortSignal) => {
  const { sale: sales, buyers, rate, connections } = options;
  const uidPrefix = `load-${randomBytes(4).toString("hex")}-`;
  const crowd = new Crowd({
    gateway,
    keys,
    sales,
    buyers,
    sockets,
    ratePerSecond: rate,
    connections,
    uidPrefix,
    emptiedAtMs: () => undefined,
    stop,
  });
  screen.say(
    `${gateway}: ${buyers} buyers (${uidPrefix}1 to ${uidPrefix}${buyers}), ${sockets} of them by WebSocket, ${rate} requests a second`,
  );
  let startedAt = 0;
  let confirmed = 0;
  const watching = watch(screen, crowd, () => confirmed);
  try {
    await crowd.rush(() => {
      startedAt = performance.now();
      screen.begin({ buyers, stock: Math.min(units, buyers) });
    });
    const rushMs = performance.now() - startedAt;
    const { requests } = crowd.ledger.counts;
    if (!stop.aborted)
      await crowd.confirm((_buyer, code) => {
        if (code === "confirmed") confirmed += 1;
      });
    return loadReport(crowd, { url: gateway, sales, buyers, sockets, rate, rushMs, requests, confirmed, isStopped: stop.aborted });
  } finally {
    watching.end();
  }
};

const load = async (options: LoadOptions, environment: Environment): Promise<void> => {
  const aimed = await aim(options, environment);
  const stop = stopSignal();
  const palette: Palette = paletteOf(process.stdout, environment);
  const screen = openScreen(process.stdout, palette);
  const report = await send(options, aimed, screen, stop);
  for (const line of report.contradictions) screen.say(palette.bad(`contradiction: ${line}`));
  screen.say(loadText(report, palette));
  if (options.report !== undefined) await writeFile(options.report, `${JSON.stringify(report, undefined, 2)}\n`);
  if (report.isStopped) process.exitCode = EXIT_STOPPED;
  else if (!isLoadSound(report)) process.exitCode = Exit.refused;
};

/** `doorbuster load` */
export const loadCommand = (environment: Environment): Command =>
  new Command("load")
    .description(
      "send a crowd to a running deployment, at a rate that does not wait for answers; exit 1 if an answer is missing or contradicts another",
    )
    .requiredOption("--url <url>", "the gateway as buyers reach it, http://host:port")
    .requiredOption("--sale <id...>", "buyer n wants the sale n modulo their number")
    .requiredOption("--buyers <n>", "buyers, each with a ticket; some send twice, as people click", wholeNumber(1, MOST_BUYERS))
    .requiredOption("--rate <n>", "requests a second", wholeNumber(1, MOST_RATE))
    .option("--sockets <n>", "of the buyers: on a WebSocket each (default: a tenth, at most 300)", wholeNumber(0, MOST_SOCKETS))
    .option("--connections <n>", "of the others, together", wholeNumber(1, MOST_CONNECTIONS), 256)
    .option("--ticket-keys-file <file>", "as DOORBUSTER_TICKET_KEYS, which is taken otherwise; the first key signs")
    .option("--ready-file <file>", "written by start or demo: the keys are taken from it")
    .option("--report <file>", "write the numbers as JSON")
    .option("--yes-i-own-it", "send also to a host that is neither loopback nor private")
    .action((options: LoadOptions) => load(options, environment));
