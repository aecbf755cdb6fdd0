import type { NatsConnection } from "nats";
import { Registry } from "prom-client";
import { composeCoordinator, type KeeperPorts } from "../../coordinator/compose.ts";
import { openConnections } from "../../coordinator/connections.ts";
import { createLog, noCrashPoints, settingProblems, systemClock, systemRandom, type SettingProblems } from "#program";
import type { Clock } from "#protocol/ports";
import type { ShardLog } from "../../coordinator/shards/relay/relay-ports.ts";
import type { Keeper } from "../../coordinator/shards/keeper.ts";
import type { KeeperObserver } from "../../coordinator/shards/keeper-observer.ts";
import type { Rows } from "../../coordinator/shards/shard-ports.ts";
import { until } from "./index.ts";
import { Gate } from "./gate.ts";

export const silent = createLog("test", { DOORBUSTER_LOG_LEVEL: "silent", DOORBUSTER_RUN: "test" });

/**
 * The coordinator that ships, of shard 0, over stores that somebody else started (`ShardWorld`), in this process. It can be paused at
 * each call of a store, and keeps a record of what it did. `stop` ends it in order and gives its lease up.
 */
export interface CoordinatorWorld {
  readonly keeper: Keeper;
  readonly gate: Gate;
  readonly log: ShardLog;
  /** results of its attempts to begin an epoch, in order */
  readonly attempts: string[];
  /** steps of its attempts, in order; `restore` once more for every chunk */
  readonly phases: string[];
  /** causes for which it appended again, in order */
  readonly causes: string[];
  readonly faults: unknown[];
  readonly purges: number[];
  readonly halts: string[];
  readonly problems: SettingProblems;
  isHolder(): boolean;
  /** resolves when it has read the shard's row so many more times */
  look(times: number): Promise<void>;
  /** in order, giving the lease up */
  stop(): Promise<void>;
}

export interface CoordinatorWorldOptions {
  readonly redisUrl: string;
  readonly connection: NatsConnection;
  readonly leaseMs: number;
  readonly openMs: number;
  readonly maxBytes: number;
  readonly holder?: string;
  readonly clock?: Clock;
  /** changes the ports, to break a rule or a store */
  readonly alter?: (ports: KeeperPorts) => KeeperPorts;
}

/** What the keeper tells its observer, kept in the order in which it is told. */
class KeeperRecord {
  readonly attempts: string[] = [];
  readonly phases: string[] = [];
  readonly causes: string[] = [];
  readonly faults: unknown[] = [];
  readonly purges: number[] = [];
  readonly halts: string[] = [];
  isHolder = false;

  readonly observer: KeeperObserver = {
    lease: (isHeld) => {
      this.isHolder = isHeld;
    },
    attempting: (phase) => this.phases.push(phase),
    attempted: (result) => this.attempts.push(result),
    open: () => undefined,
    halted: (reason) => this.halts.push(reason),
    lag: () => undefined,
    appended: () => undefined,
    appendedAgain: (cause) => this.causes.push(cause),
    purged: (before) => this.purges.push(before),
    fault: (error) => this.faults.push(error),
  };
}

/** The keeper's ports with a gate before each call. @param onLook called when the shard's row is read */
const guarded = (gate: Gate, { store, rows, log, settings }: KeeperPorts, onLook: () => void): KeeperPorts => {
  const looked: Rows = {
    ...rows,
    row: () => {
      onLook();
      return rows.row();
    },
  };
  return {
    store: {
      ...gate.guard(store, ["state", "acquireLease", "releaseLease", "close", "keep", "open", "renew", "readOutbox"]),
      openOutbox: () => gate.guard(store.openOutbox(), ["read"]),
    },
    rows: gate.guard(looked, ["row", "restore"]),
    log: gate.guard(log, ["append", "lastEntry", "verify", "purge"]),
    settings,
  };
};

export const startCoordinatorWorld = async (options: CoordinatorWorldOptions): Promise<CoordinatorWorld> => {
  const { connection, leaseMs, openMs, maxBytes } = options;
  const gate = new Gate();
  const record = new KeeperRecord();
  const { attempts, phases, causes, faults, purges, halts, observer } = record;
  const problems = settingProblems(silent, new Registry());
  let looks = 0;
  const connections = await openConnections({
    config: { REDIS_SHARDS: [options.redisUrl], DOORBUSTER_LOG_BYTES: maxBytes },
    connection,
    log: silent,
    clock: options.clock ?? systemClock,
    random: systemRandom,
    points: noCrashPoints,
    problems,
    observer: { shard: () => observer, soldOut: () => undefined, moved: () => undefined, fault: (_where, error) => faults.push(error) },
  });
  const [real] = connections.ports.shards as readonly [KeeperPorts];
  const altered = options.alter?.(real) ?? real;
  const coordinator = composeCoordinator(
    {
      ...connections.ports,
      holder: options.holder ?? "",
      shards: [guarded(gate, altered, () => (looks += 1))],
      // it looks after the shard, and knows of no sale: the tests decide about those themselves
      sales: { all: () => [], get: () => undefined, run: async () => undefined },
      transfers: { ...connections.ports.transfers, draining: async () => [] },
    },
    { leaseMs, openMs },
  );
  const [keeper] = coordinator.keepers as readonly [Keeper];
  const stop = new AbortController();
  const ended = coordinator.run(stop.signal);
  return {
    keeper,
    gate,
    log: altered.log,
    attempts,
    phases,
    causes,
    faults,
    purges,
    halts,
    problems,
    isHolder: () => record.isHolder,
    look: async (times) => {
      const before = looks;
      await until(() => looks > before + times, `${times} looks`);
    },
    stop: async () => {
      gate.open();
      stop.abort();
      await ended;
      connections.close();
    },
  };
};
