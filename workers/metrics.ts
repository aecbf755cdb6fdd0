import { Counter, Gauge, Histogram } from "prom-client";
import type { ClusterMetricNames } from "#program";
import { RestoreEnd } from "./restore/restore.ts";

/** What the primary counts itself. */
export const CLUSTER_METRICS = {
  ready: "doorbuster_workers_ready",
  restarts: "doorbuster_workers_restarts",
  complete: "doorbuster_workers_scrape_complete",
  violations: "doorbuster_worker_invariant_violations_total",
} as const satisfies ClusterMetricNames;

/** Of every process; the primary adds them up (cluster-page.ts). */
export const logRecordsTotal = new Counter({
  name: "doorbuster_worker_log_records_total",
  help: "log records, by what became of them",
  labelNames: ["shard", "outcome"],
});
export const ordersTotal = new Counter({
  name: "doorbuster_worker_orders_total",
  help: "orders committed",
  labelNames: ["shard"],
});
export const orderChangesTotal = new Counter({
  name: "doorbuster_worker_order_changes_total",
  help: "orders that changed their state: pay, expire, cancel, refund, or reacquire (late money that found its units)",
  labelNames: ["change"],
});
export const paymentsTotal = new Counter({
  name: "doorbuster_worker_payments_total",
  help: "payments reported, by what was decided: kept, reacquired, refund; repeat: it was reported before",
  labelNames: ["decision"],
});
export const constraintViolationsTotal = new Counter({
  name: "doorbuster_worker_constraint_violations_total",
  help: "log records that violated a constraint, by which: the shard's history was wrong and it is rebuilt. Alert on any.",
  labelNames: ["shard", "constraint"],
});
export const rejectedTotal = new Counter({
  name: "doorbuster_worker_rejected_orders_total",
  help: "orders that a constraint refused",
  labelNames: ["shard"],
});
export const deadLettersTotal = new Counter({
  name: "doorbuster_worker_dead_letters_total",
  help: "log records kept in dead_letters because they cannot be read or applied. Alert on any.",
  labelNames: ["shard"],
});
export const applySeconds = new Histogram({
  name: "doorbuster_worker_apply_seconds",
  help: "one log record's transaction",
  labelNames: ["shard"],
  buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
});
export const restoresTotal = new Counter({
  name: "doorbuster_worker_restores_total",
  help: "rebuilds of a shard's Redis from Postgres, by how they ended",
  labelNames: ["end"],
});
export const archivedTotal = new Counter({
  name: "doorbuster_worker_sales_archived_total",
  help: "sales that were archived because they ended long ago",
});
export const archiveDueSales = new Gauge({
  name: "doorbuster_worker_sales_archive_due",
  help: "sales that are due to be archived and that a shard or an order keeps, as of the last look",
  aggregator: "max",
});
export const faultsTotal = new Counter({
  name: "doorbuster_worker_faults_total",
  help: "faults that are repeated, by place",
  labelNames: ["where"],
});

/** What a transaction may be found to violate. */
export const ConstraintName = { quota: "quota", orderTwice: "order_twice", grantTwice: "grant_twice", overdrawn: "overdrawn" } as const;
export type ConstraintName = (typeof ConstraintName)[keyof typeof ConstraintName];

/** Makes the lines that are alerted on, so that the first one is an increase. */
export const countFromZero = (shards: number): void => {
  for (const end of Object.values(RestoreEnd)) restoresTotal.inc({ end }, 0);
  for (let shard = 0; shard < shards; shard += 1) {
    deadLettersTotal.inc({ shard }, 0);
    for (const constraint of Object.values(ConstraintName)) constraintViolationsTotal.inc({ shard, constraint }, 0);
  }
};
