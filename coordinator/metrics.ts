import { Counter, Registry } from "prom-client";
import type { InvariantViolation } from "#lua/core/invariant";
import { faultLog, logViolation } from "#program/fault-log";
import { settingProblems, type SettingProblems } from "#program/setting-problems";
import { violationCounter, type ProcessViolations } from "#program/violations";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import type { CoordinatorObserver } from "./compose.ts";
import { countFromZero, saleInstruments, shardInstruments } from "./instruments.ts";
import { observeShard } from "./shard-observer.ts";

export interface CoordinatorMetrics extends CoordinatorObserver {
  readonly registry: Registry;
  /** what stores and broker are set to and should not be */
  readonly settings: SettingProblems;
}

/**
 * @param violations called with each invariant violation, and logs it; without it, it is logged here like a fault
 */
export const createMetrics = (log: Log, clock: Clock, violations?: ProcessViolations): CoordinatorMetrics => {
  const registry = new Registry();
  const instruments = shardInstruments(registry);
  const faults = new Counter({
    name: "doorbuster_coordinator_faults_total",
    help: "calls to a store, the broker or a worker that failed",
    labelNames: ["where"] as const,
    registers: [registry],
  });
  const violationsTotal = violationCounter("doorbuster_coordinator_invariant_violations_total", registry, violations?.before);
  const sales = saleInstruments(registry);
  const { soldOut, transfers, units } = sales;
  const sayViolation = violations?.onViolation ?? logViolation(log, clock);
  const onViolation = (error: InvariantViolation): void => {
    violationsTotal.inc({ invariant: error.invariant });
    sayViolation(error);
  };
  const faultsAt = faultLog({ log, clock, counter: faults, onViolation });

  const fault = (where: string, error: unknown): void => faultsAt(where)(error);

  return {
    registry,
    settings: settingProblems(log, registry),
    shard: (shard) => {
      countFromZero(instruments, sales, shard);
      return observeShard({ shard, instruments, log, clock, fault: (error) => fault(`shard ${shard}`, error) });
    },
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
