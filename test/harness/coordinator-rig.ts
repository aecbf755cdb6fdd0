// oxlint-disable no-restricted-imports -- a rig puts the parts of a coordinator together one by one, with gates between them
import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { createBroker } from "../../coordinator/shards/log/broker.ts";
import { createShardLog } from "../../coordinator/shards/log/shard-log.ts";
import { createLog, connectShard, systemClock, systemRandom } from "#program";
import type { Clock } from "#protocol/ports";
import type { ShardLog } from "../../coordinator/shards/relay/relay-ports.ts";
import { createRows } from "../../coordinator/shards/rows/rows.ts";
import { Keeper } from "../../coordinator/shards/keeper.ts";
import type { Rows, ShardStore } from "../../coordinator/shards/shard-ports.ts";
import { createShardStore } from "../../coordinator/shards/redis-store.ts";
import { until } from "./index.ts";
import { Gate } from "./gate.ts";

export const silent = createLog("test", { DOORBUSTER_LOG_LEVEL: "silent", DOORBUSTER_RUN: "test" });

/** A coordinator of one shard that can be paused anywhere, with a record of what it did. */
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
  readonly shard: number;
  readonly redis: Redis;
  readonly redisUrl: string;
  readonly connection: NatsConnection;
  readonly leaseMs: number;
  readonly openMs: number;
  readonly maxBytes: number;
  readonly holder?: string;
  readonly clock?: Clock;
  /** changes the ports, to break a rule or a store */
  readonly alter?: (ports: { readonly store: ShardStore; readonly rows: Rows; readonly log: ShardLog }) => {
    readonly store: ShardStore;
    readonly rows: Rows;
    readonly log: ShardLog;
  };
}

export const startCoordinatorRig = async (options: CoordinatorRigOptions): Promise<CoordinatorRig> => {
  const { shard, redis, connection, leaseMs, openMs, maxBytes } = options;
  const gate = new Gate();
  const attempts: string[] = [];
  const phases: string[] = [];
  const causes: string[] = [];
  const faults: unknown[] = [];
  const purges: number[] = [];
  const halts: string[] = [];
  let isHolder = false;
  let looks = 0;
  let onConnect = (): void => undefined;
  const broker = await createBroker(connection, () => onConnect());
  const real = {
    store: createShardStore(shard, redis, () =>
      connectShard(options.redisUrl, shard, { name: "outbox", log: silent, commandTimeoutMs: 5_000 }),
    ),
    rows: createRows(connection, shard),
    log: createShardLog({ shard, shards: 1, maxBytes, broker, random: systemRandom }),
  };
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
  const keeper = new Keeper({
    shard,
    leaseMs,
    openMs,
    holder: options.holder ?? "",
    store: { ...store, openOutbox: () => gate.guard(altered.store.openOutbox(), ["read"]) },
    rows: gate.guard(rows, ["row", "restore"]),
    log,
    clock: options.clock ?? systemClock,
    random: systemRandom,
    observer: {
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
    },
  });
  onConnect = () => keeper.wake();
  redis.on("ready", () => keeper.wake());
  const stop = new AbortController();
  const ended = keeper.run(stop.signal);
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
    },
  };
};
