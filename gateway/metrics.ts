import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { BuyReadings } from "./buy/compose.ts";
import type { BuyPorts } from "./buy/service-ports.ts";

const MS = 1_000;

/** Registers the service's own numbers. The hot path only raises plain numbers, which are read when somebody scrapes. */
export const registerReadings = (registry: Registry, readings: BuyReadings): void => {
  registry.registerMetric(
    new Counter({
      name: "doorbuster_gateway_outcomes_total",
      help: "Purchases answered, by the code of the outcome",
      labelNames: ["code"],
      registers: [],
      collect() {
        this.reset();
        for (const [code, count] of Object.entries(readings.counts())) this.inc({ code }, count);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "doorbuster_gateway_queued",
      help: "Requests that wait to be sent to a shard's Redis",
      labelNames: ["shard"],
      registers: [],
      collect() {
        for (const [shard, queued] of readings.queued().entries()) this.set({ shard }, queued);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "doorbuster_gateway_waiting",
      help: "Answers held until the order is final",
      registers: [],
      collect() {
        this.set(readings.waiting());
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "doorbuster_gateway_dry_waiting",
      help: "Purchases that wait for units to be brought to their shard",
      labelNames: ["shard"],
      registers: [],
      collect() {
        for (const [shard, count] of readings.dryWaiting().entries()) this.set({ shard }, count);
      },
    }),
  );
};

/** Registers the bound of a shard's outbox, against which its length is judged. @param entries DOORBUSTER_OUTBOX_LIMIT */
export const registerOutboxLimit = (registry: Registry, entries: number): void => {
  registry.registerMetric(
    new Gauge({
      name: "doorbuster_gateway_outbox_limit",
      help: "Entries that a shard's outbox may hold before buyers hear busy; doorbuster_outbox_entries is how many it holds",
      registers: [],
      aggregator: "max",
      collect() {
        this.set(entries);
      },
    }),
  );
};

/** Registers the histograms of calls of Redis. @returns what fills them */
export const callMetrics = (registry: Registry): Pick<BuyPorts, "onPurchases" | "onStandings"> => {
  const registers = [registry];
  const size = new Histogram({
    name: "doorbuster_gateway_batch_size",
    help: "Requests in one call of Redis",
    labelNames: ["kind"],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    registers,
  });
  const seconds = new Histogram({
    name: "doorbuster_gateway_call_seconds",
    help: "Time of one call of Redis",
    labelNames: ["kind"],
    buckets: [0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1, 4],
    registers,
  });
  const observer = (kind: string): ((batch: number, ms: number) => void) => {
    const sizes = size.labels({ kind });
    const times = seconds.labels({ kind });
    return (batch, ms) => {
      sizes.observe(batch);
      times.observe(ms / MS);
    };
  };
  return { onPurchases: observer("purchases"), onStandings: observer("standings") };
};
