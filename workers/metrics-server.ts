import type { FastifyInstance } from "fastify";
import { AggregatorRegistry, Gauge, Registry } from "prom-client";
import { createStatusServer, violationCounter, type ClusterState, type PlacedProblem } from "#program";
import type { Invariant } from "#lua/core/invariant";

export interface MetricsServerOptions {
  readonly host: string;
  readonly port: number;
  /** aborted: the workers are not ready any more */
  readonly stop: AbortSignal;
}

/** Health and metrics of all worker processes, served by their primary. */
export interface MetricsServer {
  readonly app: FastifyInstance;
  /** what the cluster has to say */
  readonly onChange: (state: ClusterState) => void;
  readonly onViolation: (invariant: Invariant, times: number) => void;
}

export const startMetricsServer = async ({ host, port, stop }: MetricsServerOptions): Promise<MetricsServer> => {
  const own = new Registry();
  const cluster = new AggregatorRegistry();
  const ready = new Gauge({ name: "doorbuster_workers_ready", help: "worker processes that serve", registers: [own] });
  const restarts = new Gauge({ name: "doorbuster_workers_restarts", help: "worker processes that died", registers: [own] });
  const violationsTotal = violationCounter("doorbuster_worker_invariant_violations_total", own);
  let isReady = false;
  let problems: readonly PlacedProblem[] = [];
  const app = createStatusServer({
    ready: () => ({ ok: isReady && !stop.aborted, settings: problems }),
    metrics: async () => `${await own.metrics()}${await cluster.clusterMetrics()}`,
  });
  await app.listen({ host, port });
  return {
    app,
    onChange: (state) => {
      isReady = state.ready > 0;
      problems = state.settings;
      ready.set(state.ready);
      restarts.set(state.restarts);
    },
    onViolation: (invariant, times) => violationsTotal.inc({ invariant }, times),
  };
};
