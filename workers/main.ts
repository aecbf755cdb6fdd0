import cluster from "node:cluster";
import { AggregatorRegistry } from "prom-client";
import { openClusterPage, runProgram, superviseCluster, tellReady } from "#program";
import { CLUSTER_METRICS } from "./metrics.ts";
import { runWorker, WORKER_SETTINGS } from "./worker.ts";

/** A log record that is being applied takes milliseconds; a statement at most 20 s. */
const STOP_WITHIN_MS = 5_000;

await runProgram(
  "workers",
  [...WORKER_SETTINGS, "DOORBUSTER_WORKERS_HOST", "DOORBUSTER_WORKERS_PORT"],
  async ({ config, log, stop, hurry, points, violations }) => {
    if (cluster.isWorker) {
      // Makes this process answer the primary's question for its metrics.
      void new AggregatorRegistry();
      await runWorker({ config, log, stop, points, onViolation: violations().onViolation, ready: tellReady });
      // The channel to the primary would keep the process alive.
      process.disconnect();
      return;
    }
    const page = await openClusterPage({
      host: config.DOORBUSTER_WORKERS_HOST,
      port: config.DOORBUSTER_WORKERS_PORT,
      names: CLUSTER_METRICS,
      stop,
    });
    log.info({ metrics: page.app.addresses() }, "health and metrics are served");
    await superviseCluster({
      processes: config.DOORBUSTER_WORKER_PROCESSES,
      log,
      stop,
      hurry,
      stopWithinMs: STOP_WITHIN_MS,
      onChange: page.onChange,
      onViolation: page.onViolation,
    });
    await page.app.close();
  },
);
