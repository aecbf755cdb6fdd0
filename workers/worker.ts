import type { Redis } from "ioredis";
import { Events, type NatsConnection } from "nats";
import { connectNats, connectShard, systemClock, Wakeup, type Config, type CrashPoints, type Log, type OnViolation } from "#program";
import { applyObserver } from "./apply-observer.ts";
import { KnownPositions } from "./apply/known.ts";
import { postgresApplyStore } from "./apply/postgres.ts";
import { ShardConsumer } from "./consume/consumer.ts";
import { runApplier, Settler } from "./apply/applier.ts";
import { pointsInApply, pointsInConsumer, pointsInHandlers } from "./crash-points.ts";
import { connectDatabase, ensureShards, type Database } from "./db/database.ts";
import { faultLog, type Faults } from "./faults.ts";
import { orderChangesTotal, paymentsTotal, restoresTotal } from "./metrics.ts";
import type { OrdersPorts, OrdersObserver } from "./orders/commands.ts";
import { expireOrders } from "./orders/expiry.ts";
import { postgresOrdersStore } from "./orders/postgres.ts";
import { requestHandlers } from "./requests/handlers.ts";
import { serve } from "#program/requests/serve";
import { postgresRestoreSource } from "./restore/postgres.ts";
import { RestoreQueue } from "./restore/queue.ts";
import { redisRestoreTarget } from "./restore/redis.ts";
import { restoreShard } from "./restore/restore.ts";
import { SalesBucket } from "./sales/bucket.ts";
import { postgresSweepStore, redisSweepShards } from "./sales/sweep-stores.ts";
import { Sweep } from "./sales/sweep.ts";
import { hearAttempts } from "./shards/attempt-board.ts";
import { shardAdmin } from "./shards/admin.ts";

export const WORKER_SETTINGS = [
  "REDIS_SHARDS",
  "NATS_URL",
  "NATS_USER",
  "NATS_PASSWORD",
  "DATABASE_URL",
  "DOORBUSTER_DATABASE_POOL",
] as const;
type WorkerConfig = Config<(typeof WORKER_SETTINGS)[number]>;

export interface WorkerOptions {
  readonly config: WorkerConfig;
  readonly log: Log;
  readonly stop: AbortSignal;
  readonly points: CrashPoints;
  /** called with each invariant violation; what would go on from it is refused, and tried again */
  readonly onViolation: OnViolation;
  /** called when everything is connected and served */
  readonly ready: () => void;
}

/** A script takes milliseconds; a staged page of a restore, too. */
const REDIS_COMMAND_MS = 2_000;
const SWEEP_MS = 200;
const BUCKET_MS = 1_000;
const EXPIRY_MS = 250;
const START_RETRY_MS = 250;

const ordersObserver: OrdersObserver = {
  changed: (change, orders) => orderChangesTotal.inc({ change }, orders),
  paid: (decision) => paymentsTotal.inc({ decision }),
};

/** Runs `turn` again and again, at once when it is woken. */
const repeat = async (
  turn: () => Promise<unknown>,
  everyMs: number,
  wakeup: Wakeup,
  fault: (error: unknown) => void,
  stop: AbortSignal,
) => {
  while (!stop.aborted) {
    await turn().catch(fault);
    await wakeup.wait(everyMs, stop);
  }
};

/** The database may come up after us. */
const waitForShards = async (database: Database, shards: number, faults: Faults, stop: AbortSignal): Promise<void> => {
  while (!stop.aborted) {
    try {
      return await ensureShards(database.sql, shards);
    } catch (error) {
      faults("start")(error);
      await systemClock.sleep(START_RETRY_MS, stop);
    }
  }
};

const watchConnection = async (connection: NatsConnection, log: Log, reconnected: () => void): Promise<void> => {
  for await (const { type } of connection.status()) {
    if (type === Events.Disconnect) log.warn("NATS does not answer: connecting again until it does");
    if (type !== Events.Reconnect) continue;
    log.info("NATS answers again");
    reconnected();
  }
};

/**
 * One worker process: an applier for every shard (the broker hands each log record to one of the processes), the sweep, the
 * bucket of sales and the requests. Any number of processes may run; whichever does a thing, it is done once.
 */
export const runWorker = async ({ config, log, stop, points, onViolation, ready }: WorkerOptions): Promise<void> => {
  const clock = systemClock;
  const faults = faultLog(log, clock, onViolation);
  const redises: readonly Redis[] = config.REDIS_SHARDS.map((url, shard) =>
    connectShard(url, shard, { name: `doorbuster-worker-${shard}`, log, commandTimeoutMs: REDIS_COMMAND_MS }),
  );
  const database = await connectDatabase({ url: config.DATABASE_URL, pool: config.DOORBUSTER_DATABASE_POOL, name: "doorbuster-worker" });
  const connection = await connectNats(config, "doorbuster-worker");
  await waitForShards(database, redises.length, faults, stop);

  const manager = await connection.jetstreamManager({ checkAPI: false });
  const consumers = redises.map(
    (_, shard) => new ShardConsumer({ connection, manager, shard, clock, fault: faults(`consumer of shard ${shard}`) }),
  );
  const delivery = {
    store: pointsInApply(points, postgresApplyStore(database)),
    clock,
    observer: applyObserver(log, faults),
    known: new KnownPositions(clock),
  };
  const shards = redisSweepShards((shard) => redises[shard]);
  const sweepWakeup = new Wakeup(clock);
  const appliers = redises.map((_, shard) => {
    const settler = new Settler({ shards: points("settler", shards), shard, fault: faults(`settle of shard ${shard}`) });
    const consumer = pointsInConsumer(points, consumers[shard] as ShardConsumer);
    return runApplier({ shard, connection, consumer, settler, delivery, onMoved: () => sweepWakeup.wake() }, stop);
  });
  const sweep = new Sweep({
    store: points("sweep", postgresSweepStore(database.sql)),
    shards: points("sweep", shards),
    clock,
    fault: faults("sweep of a shard"),
  });
  const bucket = new SalesBucket(database, connection);
  const bucketWakeup = new Wakeup(clock);
  void watchConnection(connection, log, () => {
    for (const consumer of consumers) consumer.reconnected();
    bucketWakeup.wake();
  });

  const orders: OrdersPorts = { store: points("orders", postgresOrdersStore(database)), observer: ordersObserver };
  const source = points("restore", postgresRestoreSource(database));
  const restores = new RestoreQueue(clock);
  const server = serve({
    connection,
    fault: (subject, error) => faults(subject)(error),
    handlers: pointsInHandlers(
      points,
      requestHandlers({
        database,
        shards: redises.length,
        shardAdmin: shardAdmin({
          database,
          shards: redises.length,
          redisOf: (shard) => redises[shard] as Redis,
          attempts: hearAttempts(connection, clock),
        }),
        orders,
        restore: async (request, progress) => {
          const target = points("restore", redisRestoreTarget(redises[request.shard] as Redis, request));
          const end = await restores.run(() => restoreShard(source, target, clock, request, progress), progress);
          restoresTotal.inc({ end });
          log.info({ shard: request.shard, epoch: request.epoch, end }, "rebuild of a shard's Redis from Postgres has ended");
          return end;
        },
        changed: () => {
          sweepWakeup.wake();
          bucketWakeup.wake();
        },
      }),
    ),
  });
  const expire = async (): Promise<void> => {
    if ((await expireOrders(orders)) > 0) sweepWakeup.wake();
  };
  const loops = [
    repeat(() => sweep.round(), SWEEP_MS, sweepWakeup, faults("sweep"), stop),
    repeat(expire, EXPIRY_MS, new Wakeup(clock), faults("expiry of orders"), stop),
    repeat(() => bucket.converge(), BUCKET_MS, bucketWakeup, faults("bucket of sales"), stop),
  ];
  // What is asked from now on is heard.
  await connection.flush();
  ready();
  log.info({ shards: redises.length }, "worker process serves");

  await Promise.all([...appliers, ...loops]);
  await server.close();
  await connection.drain();
  for (const redis of redises) redis.disconnect();
  await database.close();
};
