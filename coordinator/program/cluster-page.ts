import type { FastifyInstance } from "fastify";
import { AggregatorRegistry, Gauge, Registry } from "prom-client";
import type { Invariant } from "#lua/core/invariant";
import type { ClusterState } from "./cluster.ts";
import type { PlacedProblem } from "./setting-problems.ts";
import { createStatusServer } from "./status-server.ts";
import { violationCounter } from "./violations.ts";

/** What the primary of a program counts itself. */
export interface ClusterMetricNames {
  /** processes that serve */
  readonly ready: string;
  /** processes that died */
  readonly restarts: string;
  /** 1 if every process answered the scrape */
  readonly complete: string;
  /** invariant violations, by invariant */
  readonly violations: string;
}

export interface ClusterPageOptions {
  readonly host: string;
  readonly port: number;
  readonly names: ClusterMetricNames;
  /** aborted: the program is not ready any more */
  readonly stop: AbortSignal;
}

/** Health and metrics of all processes of a program, served by their primary to whoever can reach the port: no credential. */
export interface ClusterPage {
  readonly app: FastifyInstance;
  /** the primary's own metrics */
  readonly registry: Registry;
  /** what the cluster has to say */
  readonly onChange: (state: ClusterState) => void;
  readonly onViolation: (invariant: Invariant, times: number) => void;
}

/** @throws Error of listen: the port cannot be had */
export const openClusterPage = async ({ host, port, names, stop }: ClusterPageOptions): Promise<ClusterPage> => {
  const registry = new Registry();
  const registers = [registry];
  const processes = new AggregatorRegistry();
  const ready = new Gauge({ name: names.ready, help: "processes that serve", registers });
  const restarts = new Gauge({ name: names.restarts, help: "processes that died and were replaced", registers });
  const complete = new Gauge({ name: names.complete, help: "1 if all processes reported their metrics to this scrape in time", registers });
  const violationsTotal = violationCounter(names.violations, registry);
  let isReady = false;
  let settings: readonly PlacedProblem[] = [];
  const app = createStatusServer({
    ready: () => ({ ok: isReady && !stop.aborted, settings }),
    metrics: async () => {
      // A process that died this moment never answers: then the others are lost for this scrape, but not the scrape.
      const all = await processes.clusterMetrics().catch(() => undefined);
      complete.set(all === undefined ? 0 : 1);
      return `${await registry.metrics()}${all ?? ""}`;
    },
  });
  await app.listen({ host, port });
  return {
    app,
    registry,
    onChange: (state) => {
      isReady = state.ready > 0;
      settings = state.settings;
      ready.set(state.ready);
      restarts.set(state.restarts);
    },
    onViolation: (invariant, times) => violationsTotal.inc({ invariant }, times),
  };
};
