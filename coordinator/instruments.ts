import { Counter, Gauge, type Registry } from "prom-client";
import { MoveReason } from "./sales/transfers/policy.ts";
import { AttemptResult } from "./shards/attempt/attempt.ts";
import { Cause } from "./shards/relay/relay-ports.ts";

const perShard = ["shard"] as const;

/** What the keepers of the shards show; every instrument has the label `shard`. */
export const shardInstruments = (registry: Registry) => {
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers, labelNames: perShard });
  const counter = (name: string, help: string) => new Counter({ name, help, registers, labelNames: perShard });
  return {
    lease: gauge("doorbuster_shard_lease", "1 while this coordinator holds the shard's lease"),
    open: gauge("doorbuster_shard_open", "1 while the shard may sell, as of the last look"),
    epoch: gauge("doorbuster_shard_epoch", "epoch of the shard"),
    halted: gauge("doorbuster_shard_halted", "1 if an operator has to look at the shard"),
    lag: gauge("doorbuster_outbox_entries", "entries in the shard's outbox: not yet applied, or not yet settled"),
    still: gauge(
      "doorbuster_outbox_still_seconds",
      "how long the outbox has had entries that are not applied without any being applied; alert above 30",
    ),
    appended: counter("doorbuster_appended_log_records_total", "log records appended, repeats included"),
    bytes: counter("doorbuster_appended_bytes_total", "bytes appended to the log"),
    purged: counter("doorbuster_purges_total", "times that applied records were dropped from the log"),
    again: new Counter({
      name: "doorbuster_appended_again_total",
      help: "times that entries were appended again, by cause",
      labelNames: ["shard", "cause"] as const,
      registers,
    }),
    ...attemptInstruments(registry),
  };
};
export type ShardInstruments = ReturnType<typeof shardInstruments>;

/** Makes a shard's lines, so that the first of each is an increase. */
export const countFromZero = ({ again, attempts }: ShardInstruments, { transfers, units }: SaleInstruments, shard: number): void => {
  const labels = { shard: String(shard) };
  for (const cause of Object.values(Cause)) again.inc({ ...labels, cause }, 0);
  for (const result of Object.values(AttemptResult)) attempts.inc({ ...labels, result }, 0);
  for (const reason of Object.values(MoveReason)) for (const counter of [transfers, units]) counter.inc({ ...labels, reason }, 0);
};

const attemptInstruments = (registry: Registry) => {
  const registers = [registry];
  return {
    step: new Gauge({
      name: "doorbuster_epoch_attempt_step",
      help: "1 at the step at which the running attempt to begin an epoch is",
      labelNames: ["shard", "step"] as const,
      registers,
    }),
    restored: new Gauge({
      name: "doorbuster_restored_orders",
      help: "orders that the running or last rebuild of the shard has written",
      labelNames: perShard,
      registers,
    }),
    toRestore: new Gauge({
      name: "doorbuster_restore_units",
      help: "units of all orders of that rebuild: as many as orders, or more",
      labelNames: perShard,
      registers,
    }),
    attempts: new Counter({
      name: "doorbuster_epoch_attempts_total",
      help: "attempts to begin an epoch, by how they ended",
      labelNames: ["shard", "result"] as const,
      registers,
    }),
  };
};

/** What the decisions about sales show. */
export const saleInstruments = (registry: Registry) => {
  const registers = [registry];
  const labelNames = ["shard", "reason"] as const;
  return {
    soldOut: new Counter({ name: "doorbuster_sold_out_total", help: "sales flagged sold out", registers }),
    transfers: new Counter({
      name: "doorbuster_transfers_total",
      help: "times that units were taken out of a shard for another, by donor and reason",
      labelNames,
      registers,
    }),
    units: new Counter({
      name: "doorbuster_transferred_units_total",
      help: "units taken out of a shard for another, by donor and reason",
      labelNames,
      registers,
    }),
  };
};
export type SaleInstruments = ReturnType<typeof saleInstruments>;
