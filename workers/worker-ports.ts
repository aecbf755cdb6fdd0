import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import type { CrashPoints } from "#program";
import type { Clock } from "#protocol/ports";
import { publish } from "#program/requests/publish";
import { publications } from "#protocol/requests/publications";
import { eventsByEntry } from "#protocol/status";
import { postgresApplyStore } from "./apply/postgres.ts";
import type { WorkerObserver, WorkerPorts } from "./compose.ts";
import { ShardConsumer } from "./consume/consumer.ts";
import { pointsInApply, pointsInDeliveries } from "./crash-points.ts";
import type { Database } from "./db/database.ts";
import { orderChangesTotal, paymentsTotal } from "./metrics.ts";
import type { OrdersObserver } from "./orders/commands.ts";
import { publishChanged } from "./orders/order-news.ts";
import { postgresOrdersStore } from "./orders/postgres.ts";
import { postgresRestoreSource } from "./restore/postgres.ts";
import { redisRestoreTarget } from "./restore/redis.ts";
import { postgresArchiveStore, redisArchiveShards } from "./sales/archive-stores.ts";
import { SalesBucket } from "./sales/bucket.ts";
import { postgresSweepStore, redisSweepShards } from "./sales/sweep-stores.ts";

/** What a worker process is connected to. */
export interface WorkerStores {
  /** by shard */
  readonly redises: readonly Redis[];
  readonly database: Database;
  readonly connection: NatsConnection;
}

export interface WorkerPortsOptions {
  readonly clock: Clock;
  readonly observer: WorkerObserver;
  readonly points: CrashPoints;
}

const ordersObserver: OrdersObserver = {
  changed: (change, orders) => orderChangesTotal.inc({ change }, orders),
  paid: (decision) => paymentsTotal.inc({ decision }),
};

/** A worker's ports on Redis, Postgres and NATS, with a crash point around every call. */
export const workerPorts = async (stores: WorkerStores, { clock, observer, points }: WorkerPortsOptions): Promise<WorkerPorts> => {
  const { redises, database, connection } = stores;
  const manager = await connection.jetstreamManager({ checkAPI: false });
  const store = pointsInApply(points, postgresApplyStore(database));
  const sweepShards = redisSweepShards((shard) => redises[shard]);
  const settler = points("settler", sweepShards);
  return {
    shards: redises.map((_, shard) => {
      const consumer = new ShardConsumer({ connection, manager, shard, clock, fault: observer.fault(`consumer of shard ${shard}`) });
      return { shard, deliveries: pointsInDeliveries(points, consumer), store, settle: (position) => settler.settle(position) };
    }),
    publish: (status) => publish(connection, publications.status, status.shard, status, eventsByEntry),
    sweep: { store: points("sweep", postgresSweepStore(database.sql)), shards: points("sweep", sweepShards) },
    restore: {
      source: points("restore", postgresRestoreSource(database)),
      targetOf: (request) => points("restore", redisRestoreTarget(redises[request.shard] as Redis, request)),
    },
    archive: {
      store: points("archive", postgresArchiveStore(database)),
      shards: points(
        "archive",
        redisArchiveShards((shard) => redises[shard]),
      ),
    },
    orders: {
      store: points("orders", postgresOrdersStore(database)),
      observer: ordersObserver,
      tell: (orders) => publishChanged(connection, orders),
    },
    bucket: new SalesBucket(database, connection, observer.fault("bucket of sales")),
    clock,
    observer,
  };
};
