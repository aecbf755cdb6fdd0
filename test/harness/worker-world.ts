// oxlint-disable no-restricted-imports -- a world composes a worker on ports of its own; the door has only the whole program
import type { Redis } from "ioredis";
import type { JetStreamManager, NatsConnection } from "nats";
import { systemClock } from "#program";
import { publish } from "#program/requests/publish";
import { serve, type RequestServer } from "#program/requests/serve";
import { publications } from "#protocol/requests/publications";
import { eventsByEntry } from "#protocol/status";
import type { ApplyObserver, Deliveries } from "../../workers/apply/delivery.ts";
import { TRUSTED_MS } from "../../workers/apply/known.ts";
import { postgresApplyStore } from "../../workers/apply/postgres.ts";
import { composeWorker, type Worker } from "../../workers/compose.ts";
import { ShardConsumer } from "../../workers/consume/consumer.ts";
import type { Database } from "../../workers/db/database.ts";
import type { OrdersPorts } from "../../workers/orders/commands.ts";
import { postgresOrdersStore } from "../../workers/orders/postgres.ts";
import { requestHandlers } from "../../workers/requests/handlers.ts";
import { postgresRestoreSource } from "../../workers/restore/postgres.ts";
import { redisRestoreTarget } from "../../workers/restore/redis.ts";
import type { ArchivePorts } from "../../workers/sales/archive.ts";
import { postgresArchiveStore, redisArchiveShards } from "../../workers/sales/archive-stores.ts";
import type { SweepStore } from "../../workers/sales/sweep-ports.ts";
import { redisSweepShards } from "../../workers/sales/sweep-stores.ts";
import { hearAttempts } from "../../workers/shards/attempt-board.ts";
import { shardAdmin } from "../../workers/shards/admin.ts";

export interface ShardWorkerOptions {
  readonly shard: number;
  readonly connection: NatsConnection;
  readonly redis: Redis;
  readonly database: Database;
  /** undefined: it applies nothing */
  readonly deliveries?: Deliveries;
  readonly observer?: ApplyObserver;
  /** of everything but the deliveries */
  readonly fault?: (error: unknown) => void;
}

const nothing = (): void => undefined;

/** Nothing to bring to Redis: these tests bring it themselves, one step at a time. */
const NO_SWEEP: SweepStore = {
  undelivered: async () => [],
  sentGrants: async () => [],
  positions: async () => [],
  offer: async () => [],
  delivered: async () => undefined,
  notDelivered: async () => undefined,
  undropped: async () => [],
  dropped: async () => undefined,
};

const HOUR_MS = 3_600_000;
const POLICY = { sweepMs: HOUR_MS, expiryMs: HOUR_MS, bucketMs: HOUR_MS, archiveMs: HOUR_MS, archiveAfterMs: 0, trustedMs: TRUSTED_MS };

const archiveOf = (database: Database, redis: Redis): ArchivePorts => ({
  store: postgresArchiveStore(database),
  shards: redisArchiveShards(() => redis),
});

const ordersOf = (database: Database): OrdersPorts => ({
  store: postgresOrdersStore(database),
  observer: { changed: nothing, paid: nothing },
  tell: nothing,
});

/** The worker that ships, for one shard on real servers, without the sweep, the expiry of orders and the bucket of sales. */
export const shardWorker = (options: ShardWorkerOptions): Worker => {
  const { shard, connection, redis, database, deliveries, observer = { done: nothing, fault: nothing }, fault = nothing } = options;
  const shards = redisSweepShards(() => redis);
  const orders = ordersOf(database);
  return composeWorker(
    {
      shards:
        deliveries === undefined
          ? []
          : [{ shard, deliveries, store: postgresApplyStore(database), settle: (position) => shards.settle(position) }],
      publish: (status) => publish(connection, publications.status, status.shard, status, eventsByEntry),
      sweep: { store: NO_SWEEP, shards },
      restore: { source: postgresRestoreSource(database), targetOf: (request) => redisRestoreTarget(redis, request) },
      orders: { ...orders, store: { ...orders.store, dueSales: async () => [] } },
      archive: archiveOf(database, redis),
      bucket: { converge: async () => undefined },
      clock: systemClock,
      observer: { apply: observer, restored: nothing, archived: nothing, fault: () => fault },
    },
    POLICY,
  );
};

/** What a worker does for one shard: applies its messages, and answers requests. Each can be stopped alone. */
export interface WorkerWorld {
  startApplier(): void;
  stopApplier(): Promise<void>;
  startAnswers(): void;
  stopAnswers(): Promise<void>;
}

export const startWorkerWorld = async (
  parts: Pick<ShardWorkerOptions, "shard" | "connection" | "redis" | "database">,
): Promise<WorkerWorld> => {
  const { shard, connection, redis, database } = parts;
  const manager: JetStreamManager = await connection.jetstreamManager({ checkAPI: false });
  const answering = shardWorker(parts);
  let server: RequestServer | undefined;
  let applier: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;
  return {
    startAnswers: () => {
      server ??= serve({
        connection,
        fault: nothing,
        handlers: requestHandlers({
          database,
          shards: shard + 1,
          shardAdmin: shardAdmin({ database, shards: shard + 1, redisOf: () => redis, attempts: hearAttempts(connection, systemClock) }),
          restore: (request, progress) => answering.restore(request, progress),
          orders: ordersOf(database),
          archive: archiveOf(database, redis),
          clock: systemClock,
          changed: () => answering.changed(),
        }),
      });
    },
    stopAnswers: async () => {
      await server?.close();
      server = undefined;
    },
    startApplier: () => {
      if (applier !== undefined) return;
      const stop = new AbortController();
      const deliveries = new ShardConsumer({ connection, manager, shard, clock: systemClock, fault: nothing });
      applier = { stop, ended: shardWorker({ ...parts, deliveries }).run(stop.signal) };
    },
    stopApplier: async () => {
      applier?.stop.abort();
      await applier?.ended;
      applier = undefined;
    },
  };
};
