import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import { AttemptPhase } from "#protocol/shard-facts";
import type { ShardInstruments } from "./instruments.ts";
import { STUCK_MS } from "./shards/keeper.ts";
import type { KeeperObserver } from "./shards/keeper-observer.ts";

const PROGRESS_LOG_MS = 1_000;

export interface ShardObserverParts {
  readonly shard: number;
  readonly instruments: ShardInstruments;
  readonly log: Log;
  readonly clock: Clock;
  readonly fault: (error: unknown) => void;
}

/** Counts and logs what happens to one shard. */
export const observeShard = (parts: ShardObserverParts): KeeperObserver => ({
  ...observeTenure(parts),
  ...observeAttempts(parts),
  ...observeRelay(parts),
  fault: parts.fault,
});

const observeTenure = ({ shard, instruments, log }: ShardObserverParts): Pick<KeeperObserver, "lease" | "open" | "halted" | "lag"> => {
  const { lease, open, epoch, halted, lag, still } = instruments;
  const labels = { shard: String(shard) };
  let wasOpen = false;
  let haltedFor = "";
  let wasStuck = false;
  return {
    lease: (isHeld) => {
      lease.set(labels, isHeld ? 1 : 0);
      log.info({ shard }, isHeld ? "took the shard's lease" : "lost the shard's lease or gave it up: another coordinator may take it");
    },
    open: (isOpen, ofEpoch) => {
      open.set(labels, isOpen ? 1 : 0);
      if (ofEpoch > 0) epoch.set(labels, ofEpoch);
      if (isOpen) {
        halted.set(labels, 0);
        haltedFor = "";
      }
      if (isOpen !== wasOpen)
        log.info({ shard, epoch: ofEpoch }, isOpen ? "shard is open: it sells" : "shard is closed: buyers are answered recovering");
      wasOpen = isOpen;
    },
    halted: (reason) => {
      halted.set(labels, 1);
      if (reason !== haltedFor)
        log.error({ alert: true, shard, reason }, "shard is halted and does not sell: an operator has to repair it");
      haltedFor = reason;
    },
    lag: (entries, stillMs) => {
      lag.set(labels, entries);
      still.set(labels, stillMs / 1_000);
      const isStuck = stillMs >= STUCK_MS;
      if (isStuck && !wasStuck) log.error({ alert: true, shard, entries, stillMs }, "the outbox does not move: nothing of it is applied");
      if (wasStuck && !isStuck) log.info({ shard, entries }, "the outbox moves again");
      wasStuck = isStuck;
    },
  };
};

const observeAttempts = (parts: ShardObserverParts): Pick<KeeperObserver, "attempting" | "attempted"> => {
  const { shard, instruments, log, clock } = parts;
  const { step, restored, toRestore, attempts } = instruments;
  const labels = { shard: String(shard) };
  /** the step at which the running attempt is; empty if none runs */
  let at: AttemptPhase | "" = "";
  let begunAtMs = 0;
  let loggedAtMs = 0;
  return {
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
      if (nowMs - loggedAtMs < PROGRESS_LOG_MS) return;
      loggedAtMs = nowMs;
      log.info({ shard, orders: progress.orders, ofUnits: progress.ofUnits }, "shard is being rebuilt");
    },
    attempted: (result, epoch) => {
      attempts.inc({ ...labels, result });
      if (at !== "") step.remove({ ...labels, step: at });
      log.info(
        { shard, epoch, result, endedInPhase: at, tookMs: Math.round(clock.monotonicMs() - begunAtMs) },
        "attempt to begin an epoch has ended",
      );
      at = "";
    },
  };
};

const observeRelay = ({ shard, instruments, log }: ShardObserverParts): Pick<KeeperObserver, "appended" | "appendedAgain" | "purged"> => {
  const { appended, bytes, again, purged } = instruments;
  const labels = { shard: String(shard) };
  return {
    appended: (record) => {
      appended.inc(labels);
      bytes.inc(labels, record.bytes);
    },
    appendedAgain: (cause, from) => {
      again.inc({ ...labels, cause });
      log.warn({ shard, cause, fromSeq: from }, "entries of the outbox are appended to the log again");
    },
    purged: (beforeStreamSeq) => {
      purged.inc(labels);
      log.debug({ shard, beforeStreamSeq }, "purged from the log what is applied");
    },
  };
};
