import { Counter, Registry } from "prom-client";
import type { BrokenState } from "#lua/core/broken";
import { faultLog, logBroken } from "#program/fault-log";
import { brokenCounter, type ProcessFindings } from "#program/findings";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import type { CoordinatorObserver } from "./compose.ts";
import { saleInstruments, shardInstruments } from "./instruments.ts";
import { observeShard } from "./shard-observer.ts";

export interface CoordinatorMetrics extends CoordinatorObserver {
  readonly registry: Registry;
}

/**
 * @param fatal called with every fault; decides which of them end the process
 * @param findings told of what may not be, and says it; without it, that is logged here like a fault
 */
export const createMetrics = (log: Log, clock: Clock, fatal: (error: unknown) => void, findings?: ProcessFindings): CoordinatorMetrics => {
  const registry = new Registry();
  const instruments = shardInstruments(registry);
  const faults = new Counter({
    name: "doorbuster_coordinator_faults_total",
    help: "calls to a store, the broker or a worker that failed",
    labelNames: ["where"] as const,
    registers: [registry],
  });
  const broken = brokenCounter("doorbuster_coordinator_broken_total", registry, findings?.before);
  const { soldOut, transfers, units } = saleInstruments(registry);
  const sayBroken = findings?.onBroken ?? logBroken(log, clock);
  const onBroken = (error: BrokenState): void => {
    broken.inc({ invariant: error.invariant });
    sayBroken(error);
  };
  const faultsAt = faultLog({ log, clock, counter: faults, onBroken });

  const fault = (where: string, error: unknown): void => {
    faultsAt(where)(error);
    fatal(error);
  };

  return {
    registry,
    shard: (shard) => observeShard({ shard, instruments, log, clock, fault: (error) => fault(`shard ${shard}`, error) }),
    soldOut: (saleId) => {
      soldOut.inc();
      log.info({ saleId }, "sale is sold out");
    },
    moved: (saleId, move) => {
      const labels = { shard: String(move.from), reason: move.reason };
      transfers.inc(labels);
      units.inc(labels, move.units);
      log.info(
        { saleId, fromShard: move.from, toShard: move.to, units: move.units, reason: move.reason },
        "units are moved to another shard",
      );
    },
    fault,
  };
};
