import cluster from "node:cluster";
import { createServer } from "node:net";
import { AggregatorRegistry, Gauge, Registry } from "prom-client";
import type { NatsConnection } from "nats";
import { violationCounter, connectNats, runProgram, superviseCluster, tellReady, type ClusterOptions, type Log } from "#program";
import { createAdmin } from "./admin/admin.ts";
import { workerRequests } from "./admin/worker-requests.ts";
import { PartsVerdict, tryParser } from "./http/parser-trial.ts";
import { PROCESS_SETTINGS, serve } from "./process.ts";

/** What a process needs after its drain to give its connections up. */
const STOP_SLACK_MS = 2_000;
const END_ANYWAY_MS = 1_000;

/** An attempt to reach NATS has no end and cannot be called off: it would keep a stopping process alive. */
const endAnyway = (): void => {
  // oxlint-disable-next-line unicorn/no-process-exit -- all that was held is answered
  setTimeout(() => process.exit(0), END_ANYWAY_MS).unref();
};

/**
 * The processes share the port (SO_REUSEPORT), and so would a stale process of an earlier start, unseen. A socket
 * without that option can have the port only while nobody else does.
 * @returns the port, chosen now if it was 0
 */
const claimPort = (host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const claimed = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => resolve(claimed));
    });
  });

interface Metrics extends Required<Pick<ClusterOptions, "onChange" | "onViolation">> {
  /** the primary's own */
  readonly own: Registry;
  /** of the primary and all its processes */
  readonly text: () => Promise<string>;
}

const createMetrics = (): Metrics => {
  const own = new Registry();
  const registers = [own];
  const processes = new AggregatorRegistry();
  const ready = new Gauge({ name: "doorbuster_gateway_processes_ready", help: "gateway processes that serve", registers });
  const restarts = new Gauge({ name: "doorbuster_gateway_restarts", help: "gateway processes that died", registers });
  const complete = new Gauge({
    name: "doorbuster_gateway_scrape_complete",
    help: "1 if all gateway processes reported their metrics in time",
    registers,
  });
  const violationsTotal = violationCounter("doorbuster_gateway_invariant_violations_total", own);
  return {
    own,
    text: async () => {
      // A process that died this moment never answers: then the others are lost for this scrape, but not the scrape.
      const all = await processes.clusterMetrics().catch(() => undefined);
      complete.set(all === undefined ? 0 : 1);
      return `${await own.metrics()}${all ?? ""}`;
    },
    onChange: (state) => {
      ready.set(state.ready);
      restarts.set(state.restarts);
    },
    onViolation: (invariant, times) => violationsTotal.inc({ invariant }, times),
  };
};

/** One warning and one number for all processes, which run the same build. Nothing waits for it. */
const reportParser = async (log: Log, registry: Registry): Promise<void> => {
  const verdict = await tryParser().catch((error: unknown) => {
    log.info({ err: error }, "uWebSockets.js's parser could not be tried");
    return PartsVerdict.unknown;
  });
  if (verdict === PartsVerdict.unknown) return;
  const gauge = new Gauge({
    name: "doorbuster_gateway_parser_takes_parts",
    help: "1 if this build of uWebSockets.js answers a request line that arrives in two parts, 0 if it answers 505; missing if that is not known",
    registers: [registry],
  });
  gauge.set(verdict === PartsVerdict.answered ? 1 : 0);
  if (verdict === PartsVerdict.refused)
    log.warn(
      { node: process.version },
      "this build of uWebSockets.js answers 505 to a request line that arrives in two parts; its builds for Node 22 and 24, which need glibc 2.38, do not",
    );
};

await runProgram(
  "gateway",
  [
    ...PROCESS_SETTINGS,
    "DOORBUSTER_GATEWAY_PORT",
    "DOORBUSTER_GATEWAY_PROCESSES",
    "DOORBUSTER_ADMIN_HOST",
    "DOORBUSTER_ADMIN_PORT",
    "DOORBUSTER_ADMIN_TOKEN",
  ],
  async ({ config, log, stop, hurry, points, violations }) => {
    if (cluster.isWorker) {
      const { onViolation } = violations();
      await serve({ config, port: Number(process.argv[2]), log, stop, hurry, points, onViolation, listening: tellReady });
      // The channel to the primary would keep the process alive.
      process.disconnect();
      endAnyway();
      return;
    }

    const metrics = createMetrics();
    void reportParser(log, metrics.own);
    let nats: NatsConnection | undefined;
    const admin = createAdmin({
      token: config.DOORBUSTER_ADMIN_TOKEN,
      workers: workerRequests(() => nats),
      metrics: metrics.text,
      onFault: (error) => log.error({ err: error }, "an admin request was answered 500"),
    });
    let port: number;
    try {
      port = await claimPort(config.DOORBUSTER_GATEWAY_HOST, config.DOORBUSTER_GATEWAY_PORT);
      await admin.listen({ host: config.DOORBUSTER_ADMIN_HOST, port: config.DOORBUSTER_ADMIN_PORT });
    } catch (error) {
      log.fatal({ err: error }, "a port cannot be had: is another gateway running?");
      process.exitCode = 1;
      return;
    }
    void connectNats(config, "gateway-admin", log).then((connection) => {
      nats = connection;
    });
    log.info({ host: config.DOORBUSTER_GATEWAY_HOST, port, admin: admin.addresses() }, "gateway primary is up: starting its processes");
    cluster.setupPrimary({ args: [String(port)] });
    await superviseCluster({
      processes: config.DOORBUSTER_GATEWAY_PROCESSES,
      log,
      stop,
      hurry,
      stopWithinMs: config.DOORBUSTER_STOP_NOTICE_MS + config.DOORBUSTER_DRAIN_MS + STOP_SLACK_MS,
      onChange: metrics.onChange,
      onViolation: metrics.onViolation,
    });
    await admin.close();
    await nats?.close();
    log.info("gateway has stopped");
    endAnyway();
  },
);
