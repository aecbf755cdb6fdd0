import type { NatsConnection } from "nats";
import { composeCoordinator, type KeeperPorts } from "../../coordinator/compose.ts";
import { openConnections } from "../../coordinator/connections.ts";
import { createLog, noCrashPoints, systemClock, systemRandom } from "#program";
import type { Clock } from "#protocol/ports";
import type { ShardLog } from "../../coordinator/shards/relay/relay-ports.ts";
import type { Keeper, KeeperObserver } from "../../coordinator/shards/keeper.ts";
import type { Rows } from "../../coordinator/shards/shard-ports.ts";
import { until } from "./index.ts";
import { Gate } from "./gate.ts";

export const silent = createLog("test", { DOORBUSTER_LOG_LEVEL: "silent", DOORBUSTER_RUN: "test" });

/** A coordinator of shard 0, over real stores, that can be paused anywhere, with a record of what it did. */
export interface CoordinatorRig {
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
  isHolder(): boolean;
  /** resolves when it has read the shard's row so many more times */
  look(times: number): Promise<void>;
  /** in order, giving the lease up */
  stop(): Promise<void>;
}

export interface CoordinatorRigOptions {
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

export const startCoordinatorRig = async (options: CoordinatorRigOptions): Promise<CoordinatorRig> => {
  const { connection, leaseMs, openMs, maxBytes } = options;
  const gate = new Gate();
  const attempts: string[] = [];
  const phases: string[] = [];
  const causes: string[] = [];
  const faults: unknown[] = [];
  const purges: number[] = [];
  const halts: string[] = [];
  let isHolder = false;
  let looks = 0;
  const observer: KeeperObserver = {
    lease: (isHeld) => {
      isHolder = isHeld;
    },
    attempting: (phase) => phases.push(phase),
    attempted: (result) => attempts.push(result),
    open: () => undefined,
    halted: (reason) => halts.push(reason),
    lag: () => undefined,
    appended: () => undefined,
    appendedAgain: (cause) => causes.push(cause),
    purged: (before) => purges.push(before),
    fault: (error) => faults.push(error),
  };
  const connections = await openConnections({
    config: { REDIS_SHARDS: [options.redisUrl], DOORBUSTER_LOG_BYTES: maxBytes },
    connection,
    log: silent,
    clock: options.clock ?? systemClock,
    random: systemRandom,
    points: noCrashPoints,
    observer: { shard: () => observer, soldOut: () => undefined, moved: () => undefined, fault: (_where, error) => faults.push(error) },
  });
  const [real] = connections.ports.shards as readonly [KeeperPorts];
  const altered = options.alter?.(real) ?? real;
  const store = gate.guard(altered.store, ["state", "acquireLease", "releaseLease", "close", "keep", "open", "renew", "readOutbox"]);
  const log = gate.guard(altered.log, ["append", "lastEntry", "verify", "purge"]);
  const rows: Rows = {
    ...altered.rows,
    row: () => {
      looks += 1;
      return altered.rows.row();
    },
  };
  const coordinator = composeCoordinator(
    {
      ...connections.ports,
      holder: options.holder ?? "",
      shards: [
        {
          store: { ...store, openOutbox: () => gate.guard(altered.store.openOutbox(), ["read"]) },
          rows: gate.guard(rows, ["row", "restore"]),
          log,
        },
      ],
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
    isHolder: () => isHolder,
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
