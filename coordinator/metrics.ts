import { Counter, Gauge, Registry } from "prom-client";
import type { BrokenState } from "#lua/core/broken";
import { faultLog, logBroken } from "#program/fault-log";
import { brokenCounter, type ProcessFindings } from "#program/findings";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import { AttemptPhase } from "#protocol/shard-facts";
import type { KeeperObserver } from "./shards/keeper.ts";
import type { Move } from "./sales/transfers/policy.ts";

const PROGRESS_LOG_MS = 1_000;

export interface CoordinatorMetrics {
  readonly registry: Registry;
  /** what the keeper of a shard reports to */
  shard(shard: number): KeeperObserver;
  soldOut(saleId: string): void;
  /** units were taken out of a shard for another */
  moved(saleId: string, move: Move): void;
  /** counts a fault and logs it, repeats rarely */
  fault(where: string, error: unknown): void;
}

/**
 * @param fatal called with every fault; decides which of them end the process
 * @param findings told of what may not be, and says it; without it, that is logged here like a fault
 */
export const createMetrics = (log: Log, clock: Clock, fatal: (error: unknown) => void, findings?: ProcessFindings): CoordinatorMetrics => {
  const registry = new Registry();
  const options = { registers: [registry], labelNames: ["shard"] as const };
  const gauge = (name: string, help: string): Gauge<"shard"> => new Gauge({ name, help, ...options });
  const counter = (name: string, help: string): Counter<"shard"> => new Counter({ name, help, ...options });
  const lease = gauge("doorbuster_shard_lease", "1 while this coordinator holds the shard's lease");
  const open = gauge("doorbuster_shard_open", "1 while the shard may sell, as of the last look");
  const epoch = gauge("doorbuster_shard_epoch", "epoch of the shard");
  const halted = gauge("doorbuster_shard_halted", "1 if an operator has to look at the shard");
  const lag = gauge("doorbuster_outbox_entries", "entries in the shard's outbox: not yet applied, or not yet settled");
  const appended = counter("doorbuster_appended_messages_total", "messages appended to the log, repeats included");
  const bytes = counter("doorbuster_appended_bytes_total", "bytes appended to the log");
  const purged = counter("doorbuster_purges_total", "times that applied messages were dropped from the log");
  const again = new Counter({
    name: "doorbuster_appended_again_total",
    help: "times that entries were appended again, by cause",
    labelNames: ["shard", "cause"] as const,
    registers: [registry],
  });
  const step = new Gauge({
    name: "doorbuster_epoch_attempt_step",
    help: "1 at the step at which the running attempt to begin an epoch is",
    labelNames: ["shard", "step"] as const,
    registers: [registry],
  });
  const restored = gauge("doorbuster_restored_orders", "orders that the running or last rebuild of the shard has written");
  const toRestore = gauge("doorbuster_restore_units", "units of all orders of that rebuild: as many as orders, or more");
  const attempts = new Counter({
    name: "doorbuster_epoch_attempts_total",
    help: "attempts to begin an epoch, by how they ended",
    labelNames: ["shard", "result"] as const,
    registers: [registry],
  });
  const faults = new Counter({
    name: "doorbuster_coordinator_faults_total",
    help: "calls to a store, the broker or a worker that failed",
    labelNames: ["where"] as const,
    registers: [registry],
  });
  const broken = brokenCounter("doorbuster_coordinator_broken_total", registry, findings?.before);
  const soldOut = new Counter({ name: "doorbuster_sold_out_total", help: "sales flagged sold out", registers: [registry] });
  const transfers = new Counter({
    name: "doorbuster_transfers_total",
    help: "times that units were taken out of a shard for another, by donor and reason",
    labelNames: ["shard", "reason"] as const,
    registers: [registry],
  });
  const units = new Counter({
    name: "doorbuster_transferred_units_total",
    help: "units taken out of a shard for another, by donor and reason",
    labelNames: ["shard", "reason"] as const,
    registers: [registry],
  });
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

  const forShard = (shard: number): KeeperObserver => {
    const labels = { shard: String(shard) };
    let wasOpen = false;
    let haltedFor = "";
    let at = "";
    let begunAtMs = 0;
    let toldAtMs = 0;
    return {
      lease: (isHeld) => {
        lease.set(labels, isHeld ? 1 : 0);
        log.info({ shard }, isHeld ? "took the shard's lease" : "gave or lost the shard's lease");
      },
      open: (isOpen, at) => {
        open.set(labels, isOpen ? 1 : 0);
        if (at > 0) epoch.set(labels, at);
        if (isOpen) {
          halted.set(labels, 0);
          haltedFor = "";
        }
        if (isOpen !== wasOpen) log.info({ shard, epoch: at }, isOpen ? "shard is open" : "shard is not open");
        wasOpen = isOpen;
      },
      halted: (reason) => {
        halted.set(labels, 1);
        if (reason !== haltedFor) log.error({ shard, reason }, "shard is halted: an operator has to look");
        haltedFor = reason;
      },
      attempting: (phase, progress) => {
        const nowMs = clock.monotonicMs();
        if (phase === AttemptPhase.ask) begunAtMs = nowMs;
        if (phase !== at) {
          if (at !== "") step.remove({ ...labels, step: at });
          at = phase;
          step.set({ ...labels, step: phase }, 1);
          log.info({ shard, phase }, "attempt to begin an epoch: next step");
        }
        if (progress === undefined) return;
        restored.set(labels, progress.orders);
        toRestore.set(labels, progress.ofUnits);
        if (nowMs - toldAtMs < PROGRESS_LOG_MS) return;
        toldAtMs = nowMs;
        log.info({ shard, orders: progress.orders, ofUnits: progress.ofUnits }, "shard is being rebuilt");
      },
      attempted: (result, epochNow) => {
        attempts.inc({ ...labels, result });
        if (at !== "") step.remove({ ...labels, step: at });
        log.info(
          { shard, epoch: epochNow, result, at, ms: Math.round(clock.monotonicMs() - begunAtMs) },
          "attempt to begin an epoch has ended",
        );
        at = "";
      },
      lag: (entries) => lag.set(labels, entries),
      appended: (message) => {
        appended.inc(labels);
        bytes.inc(labels, message.bytes);
      },
      appendedAgain: (cause, from) => {
        again.inc({ ...labels, cause });
        log.warn({ shard, cause, from }, "appending again");
      },
      purged: (beforeStreamSeq) => {
        purged.inc(labels);
        log.debug({ shard, beforeStreamSeq }, "purged what is applied");
      },
      fault: (error) => fault(`shard ${shard}`, error),
    };
  };

  return {
    registry,
    shard: forShard,
    soldOut: (saleId) => {
      soldOut.inc();
      log.info({ saleId }, "sale is sold out");
    },
    moved: (saleId, move) => {
      const labels = { shard: String(move.from), reason: move.reason };
      transfers.inc(labels);
      units.inc(labels, move.units);
      log.info({ saleId, ...move }, "units move");
    },
    fault,
  };
};
