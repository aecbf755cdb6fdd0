import { Counter, Histogram } from "prom-client";

/** Of every process; the primary adds them up (cluster-page.ts), and counts itself the invariant violations they find. */
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
export const faultsTotal = new Counter({
  name: "doorbuster_worker_faults_total",
  help: "faults that are repeated, by place",
  labelNames: ["where"],
});
