import { setTimeout as delay } from "node:timers/promises";
import { register } from "prom-client";
import type { Config, CrashPoints, Log, OnViolation } from "#program";
import { rarely } from "#program/rarely";
import { systemClock } from "#program/system";
import { openTracing, TRACE_SETTINGS } from "#program/tracing/tracing";
import { createApp, type TemplatedApp } from "./http/app.ts";
import type { OnAddressDoubt } from "./http/client-address.ts";
import { Door } from "./http/door.ts";
import { BUY_SETTINGS, openBuyService, type OpenBuyService } from "./open.ts";
import { renewTicketKeys } from "./identity/ticket.ts";
import { tracedService } from "./traced-service.ts";
import { mountDoorbuster, type Mounted } from "./plugin.ts";
import { answerScrapes, faultCounter, measureDoor, measureMounted } from "./process-metrics.ts";

export const PROCESS_SETTINGS = [
  ...BUY_SETTINGS,
  "DOORBUSTER_GATEWAY_HOST",
  "DOORBUSTER_TRUSTED_PROXIES",
  "DOORBUSTER_ADDRESS_HEADER",
  "DOORBUSTER_ALLOWED_ORIGINS",
  "DOORBUSTER_STOP_NOTICE_MS",
  "DOORBUSTER_DRAIN_MS",
  ...TRACE_SETTINGS,
] as const;
type ProcessConfig = Config<(typeof PROCESS_SETTINGS)[number]>;

export interface ProcessOptions {
  readonly config: ProcessConfig;
  readonly port: number;
  readonly log: Log;
  readonly stop: AbortSignal;
  /** aborted: stop without the notice */
  readonly hurry: AbortSignal;
  readonly points: CrashPoints;
  /** calls back with renewed keys of tickets */
  readonly newTicketKeys: (changed: (keys: ProcessConfig["DOORBUSTER_TICKET_KEYS"]) => void) => void;
  readonly onViolation: OnViolation;
  /** called once it listens */
  readonly listening: () => void;
}

/** A process that does not know the sales yet would answer `sale_unknown`; after this it says so rather than nothing. */
const READY_WITHIN_MS = 10_000;
const LOOK_MS = 20;

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));

const untilReady = async (opened: OpenBuyService, stop: AbortSignal): Promise<void> => {
  const startedAt = performance.now();
  while (!opened.service.isReady() && !stop.aborted && performance.now() - startedAt < READY_WITHIN_MS) await delay(LOOK_MS);
};

/** A stranger can write the header, too: rarely. */
const warnOfDoubts = (log: Log): OnAddressDoubt => {
  const isNews = rarely(systemClock);
  return (doubt, sentence, peer) => {
    const news = isNews(doubt, sentence);
    if (news !== undefined) log.warn({ doubt, peer, ...news }, sentence);
  };
};

const openDoor = async ({ config, port, log }: ProcessOptions, app: TemplatedApp): Promise<Door> => {
  const isNews = rarely(systemClock);
  const door = await Door.open({
    app,
    host: config.DOORBUSTER_GATEWAY_HOST,
    port,
    onFull: (limit) => {
      const news = isNews("door", "full");
      if (news === undefined) return;
      const what = "no file descriptor is left: connections are accepted again when clients have left; raise the limit (ulimit -n)";
      log.warn({ limit, alert: true, ...news }, what);
    },
    onRoom: () => log.info("connections are accepted again"),
  });
  measureDoor(register, door);
  return door;
};

/** Balancers that ask `/readyz` send buyers elsewhere in this time, while everybody who comes is still served. */
const giveNotice = async ({ config, hurry }: ProcessOptions, mounted: Mounted): Promise<void> => {
  mounted.announceStop();
  await delay(config.DOORBUSTER_STOP_NOTICE_MS, undefined, { signal: hurry }).catch(() => undefined);
};

/**
 * One process of the gateway: serves until `stop` and for DOORBUSTER_STOP_NOTICE_MS after it, then answers what it holds, for at
 * most DOORBUSTER_DRAIN_MS.
 */
export const serve = async (options: ProcessOptions): Promise<void> => {
  const { config, log, stop, points, onViolation, listening } = options;
  const opening = openBuyService({ config, log, points, onViolation });
  const opened = await Promise.race([opening, aborted(stop)]);
  // NATS never answered: there is nothing to drain, and the attempt to connect ends with the process.
  if (opened === undefined) return;
  const { tickets } = opened;
  options.newTicketKeys((renewed) => renewTicketKeys(tickets, renewed));
  const tracing = await openTracing("gateway", config, log);
  const service = tracing === undefined ? opened.service : tracedService(opened.service, tracing);
  const faults = faultCounter(register);
  const app = createApp();
  const mounted = mountDoorbuster(app, {
    service,
    tickets,
    trustedProxies: config.DOORBUSTER_TRUSTED_PROXIES,
    addressHeader: config.DOORBUSTER_ADDRESS_HEADER,
    onAddressDoubt: warnOfDoubts(log),
    allowedOrigins: config.DOORBUSTER_ALLOWED_ORIGINS,
    notFound: true,
    readsTraceparent: tracing !== undefined,
    onFault: (error) => {
      faults.inc();
      log.error({ err: error }, "a request was answered 500");
    },
  });
  answerScrapes();
  measureMounted(register, mounted);
  await untilReady(opened, stop);
  if (!stop.aborted) {
    const door = await openDoor(options, app);
    listening();
    await aborted(stop);
    await giveNotice(options, mounted);
    door.close();
  }
  const late = new AbortController();
  await Promise.race([mounted.drain(), delay(config.DOORBUSTER_DRAIN_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
  if (mounted.waiting() > 0) log.warn({ waiting: mounted.waiting() }, "gateway process stops before all requests are answered");
  app.close();
  await opened.close();
  await tracing?.close();
};
