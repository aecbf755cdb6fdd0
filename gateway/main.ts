import cluster from "node:cluster";
import { createServer } from "node:net";
import type { NatsConnection } from "nats";
import type { Registry } from "prom-client";
import { connectNats, openClusterPage, runProgram, superviseCluster, tellReady, type ClusterPage, type Log } from "#program";
import { createAdmin } from "./admin/admin.ts";
import { workerRequests } from "./admin/worker-requests.ts";
import { PartsVerdict, tryParser } from "./http/parser-trial.ts";
import { CLUSTER_METRICS, parserGauge } from "./process-metrics.ts";
import { PROCESS_SETTINGS, serve, type ProcessOptions } from "./process.ts";

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

/** One warning and one number for all processes, which run the same build. Nothing waits for it. */
const reportParser = async (log: Log, registry: Registry): Promise<void> => {
  const verdict = await tryParser().catch((error: unknown) => {
    log.info({ err: error }, "uWebSockets.js's parser could not be tried");
    return PartsVerdict.unknown;
  });
  if (verdict === PartsVerdict.unknown) return;
  parserGauge(registry).set(verdict === PartsVerdict.answered ? 1 : 0);
  if (verdict === PartsVerdict.refused)
    log.warn(
      { node: process.version },
      "this build of uWebSockets.js answers 505 to a request line that arrives in two parts; its builds for Node 22 and 24, which need glibc 2.38, do not",
    );
};

/** @returns what gives the value of the moment */
const lately = <Value>(first: Value, follow: (changed: (value: Value) => void) => void): (() => Value) => {
  let value = first;
  follow((renewed) => (value = renewed));
  return () => value;
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
    "DOORBUSTER_GATEWAY_METRICS_HOST",
    "DOORBUSTER_GATEWAY_METRICS_PORT",
  ],
  async ({ config, log, stop, hurry, points, follow, violations }) => {
    if (cluster.isWorker) {
      const { onViolation } = violations();
      const port = Number(process.argv[2]);
      const newTicketKeys: ProcessOptions["newTicketKeys"] = (changed) => follow("DOORBUSTER_TICKET_KEYS", changed);
      await serve({ config, port, log, stop, hurry, points, newTicketKeys, onViolation, listening: tellReady });
      // The channel to the primary would keep the process alive.
      process.disconnect();
      endAnyway();
      return;
    }

    let nats: NatsConnection | undefined;
    const admin = createAdmin({
      tokens: lately(config.DOORBUSTER_ADMIN_TOKEN, (changed) => follow("DOORBUSTER_ADMIN_TOKEN", changed)),
      workers: workerRequests(() => nats),
      onFault: (error, about) => log.error({ ...about, err: error }, "an admin request was answered 500"),
    });
    let port: number;
    let page: ClusterPage;
    try {
      port = await claimPort(config.DOORBUSTER_GATEWAY_HOST, config.DOORBUSTER_GATEWAY_PORT);
      await admin.listen({ host: config.DOORBUSTER_ADMIN_HOST, port: config.DOORBUSTER_ADMIN_PORT });
      page = await openClusterPage({
        host: config.DOORBUSTER_GATEWAY_METRICS_HOST,
        port: config.DOORBUSTER_GATEWAY_METRICS_PORT,
        names: CLUSTER_METRICS,
        stop,
      });
    } catch (error) {
      await admin.close();
      log.fatal({ err: error }, "a port cannot be had: is another gateway running?");
      process.exitCode = 1;
      return;
    }
    void connectNats(config, "gateway-admin", log).then((connection) => {
      nats = connection;
    });
    void reportParser(log, page.registry);
    log.info(
      { host: config.DOORBUSTER_GATEWAY_HOST, port, admin: admin.addresses(), metrics: page.app.addresses() },
      "gateway primary is up: starting its processes",
    );
    cluster.setupPrimary({ args: [String(port)] });
    await superviseCluster({
      processes: config.DOORBUSTER_GATEWAY_PROCESSES,
      log,
      stop,
      hurry,
      stopWithinMs: config.DOORBUSTER_STOP_NOTICE_MS + config.DOORBUSTER_DRAIN_MS + STOP_SLACK_MS,
      onChange: page.onChange,
      onViolation: page.onViolation,
    });
    await admin.close();
    await page.app.close();
    await nats?.close();
    log.info("gateway has stopped");
    endAnyway();
  },
);
