import { pino } from "pino";
import { collectDefaultMetrics, register, Registry } from "prom-client";
import { zeroCounts } from "../../gateway/buy/outcome-counts.ts";
import { callMetrics, registerOutboxLimit, registerReadings } from "../../gateway/metrics.ts";
import {
  CLUSTER_METRICS as GATEWAY_METRICS,
  faultCounter,
  measureDoor,
  measureMounted,
  parserGauge,
} from "../../gateway/process-metrics.ts";
import { countStoreRefusals } from "../../gateway/store-refusals.ts";
import { createMetrics } from "../../coordinator/metrics.ts";
import { messageMetrics } from "../../coordinator/messages/api/metrics.ts";
import { CLUSTER_METRICS as WORKER_METRICS } from "../../workers/metrics.ts";
import { openClusterPage, settingProblems, systemClock, type ClusterMetricNames } from "#program";
import { ProgramName } from "../../deploy/local/index.ts";

/** As a page of metrics has it. */
export interface MetricFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
}

const silent = pino({ level: "silent" });

const familiesOf = (registry: Registry): MetricFamily[] =>
  registry.getMetricsAsArray().map((metric) => {
    const { name, help, type, labelNames = [] } = metric as typeof metric & { readonly labelNames?: readonly string[] };
    return { name, help, type: String(type), labels: labelNames };
  });

const primaryFamilies = async (names: ClusterMetricNames): Promise<MetricFamily[]> => {
  const page = await openClusterPage({ host: "127.0.0.1", port: 0, names, stop: new AbortController().signal });
  await page.app.close();
  return familiesOf(page.registry);
};

const gateway = async (): Promise<MetricFamily[]> => {
  const registry = new Registry();
  const none = zeroCounts();
  registerReadings(registry, { counts: () => none, queued: () => [], waiting: () => 0, dryWaiting: () => [] });
  registerOutboxLimit(registry, 1);
  callMetrics(registry);
  countStoreRefusals(registry, silent, systemClock);
  measureDoor(registry, { isAccepting: true, timesFull: 0 });
  measureMounted(registry, {
    answered: { http: none, live: none },
    addressDoubts: { untrusted: 0, untold: 0 },
    waiting: () => 0,
    sockets: () => 0,
  });
  faultCounter(registry);
  parserGauge(registry);
  return [...(await primaryFamilies(GATEWAY_METRICS)), ...familiesOf(registry)];
};

const coordinator = (): MetricFamily[] => {
  const { registry } = createMetrics(silent, systemClock);
  messageMetrics(registry, { counts: () => Promise.resolve({ waiting: 0, dead: 0, all: 0 }), inFlight: () => 0 });
  return familiesOf(registry);
};

const workers = async (): Promise<MetricFamily[]> => {
  const registry = new Registry();
  settingProblems(silent, registry);
  // those of workers/metrics.ts are on prom-client's own
  return [...(await primaryFamilies(WORKER_METRICS)), ...familiesOf(register), ...familiesOf(registry)];
};

/** What prom-client tells of every Node.js process: the gateway's processes show it. */
export const nodeFamilies = (): MetricFamily[] => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return familiesOf(registry);
};

/** Every metric of every program, from the code that makes its registries. */
export const allFamilies = async (): Promise<Readonly<Record<ProgramName, readonly MetricFamily[]>>> => ({
  gateway: await gateway(),
  coordinator: coordinator(),
  workers: await workers(),
});
