import type { Redis } from "ioredis";
import { Events, type NatsConnection } from "nats";
import { register } from "prom-client";
import { serve, type RequestServer } from "#program/requests/serve";
import {
  connectNats,
  connectShard,
  databasePlace,
  NATS_SETTINGS,
  REDIS_TLS_SETTINGS,
  redisTls,
  sayWaiting,
  settingProblems,
  systemClock,
  tellProblems,
  type Config,
  type CrashPoints,
  type Log,
  type OnViolation,
  type Waiting,
} from "#program";
import { openTracing, TRACE_SETTINGS } from "#program/tracing/tracing";
import { applyObserver } from "./apply-observer.ts";
import { TRUSTED_MS } from "./apply/known.ts";
import { composeWorker, type Worker, type WorkerObserver, type WorkerPolicy, type WorkerPorts } from "./compose.ts";
import { pointsInHandlers } from "./crash-points.ts";
import { connectDatabase, ensureShards, type Database } from "./db/database.ts";
import { DatabaseSettings } from "./db/settings.ts";
import { faultLog, type Faults } from "./faults.ts";
import { archivedTotal, archiveDueSales, countFromZero, restoresTotal } from "./metrics.ts";
import { requestHandlers } from "./requests/handlers.ts";
import { hearAttempts } from "./shards/attempt-board.ts";
import { shardAdmin } from "./shards/admin.ts";
import { tracedApply } from "./traced-apply.ts";
import { workerPorts, type WorkerStores } from "./worker-ports.ts";

export const WORKER_SETTINGS = [
  "REDIS_SHARDS",
  ...REDIS_TLS_SETTINGS,
  ...NATS_SETTINGS,
  "DATABASE_URL",
  "DATABASE_CA_FILE",
  "DOORBUSTER_DATABASE_POOL",
  "DOORBUSTER_WORKER_PROCESSES",
  "DOORBUSTER_ARCHIVE_AFTER_MS",
  ...TRACE_SETTINGS,
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
const START_RETRY_MS = 250;
const SETTINGS_RETRY_MS = 1_000;

const POLICY = {
  sweepMs: 200,
  expiryMs: 250,
  bucketMs: 1_000,
  archiveMs: 10_000,
  trustedMs: TRUSTED_MS,
} as const satisfies Partial<WorkerPolicy>;

/** The database may come up after us, and must be set up so that what is stored in it stays. */
const waitForShards = async (
  database: Database,
  settings: DatabaseSettings,
  shards: number,
  waiting: Waiting,
  stop: AbortSignal,
): Promise<void> => {
  while (!stop.aborted) {
    try {
      const isSound = await settings.isSound();
      waiting.over();
      if (isSound) return await ensureShards(database.sql, shards);
      await systemClock.sleep(SETTINGS_RETRY_MS, stop);
    } catch (error) {
      waiting.failed(error);
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

const connectStores = async ({ config, log }: WorkerOptions): Promise<WorkerStores> => ({
  redises: config.REDIS_SHARDS.map((url, shard) =>
    connectShard(url, shard, {
      name: `doorbuster-worker-${shard}`,
      log,
      commandTimeoutMs: REDIS_COMMAND_MS,
      tls: redisTls(config),
    }),
  ),
  database: await connectDatabase({
    url: config.DATABASE_URL,
    caFile: config.DATABASE_CA_FILE,
    pool: config.DOORBUSTER_DATABASE_POOL,
    name: "doorbuster-worker",
  }),
  connection: await connectNats(config, "doorbuster-worker", log),
});

const closeStores = async ({ redises, database, connection }: WorkerStores): Promise<void> => {
  await connection.drain();
  for (const redis of redises) redis.disconnect();
  await database.close();
};

/** Answers what coordinator and gateways ask. */
const serveRequests = (
  stores: WorkerStores,
  { orders, archive }: WorkerPorts,
  worker: Worker,
  points: CrashPoints,
  faults: Faults,
): RequestServer => {
  const { database, connection, redises } = stores;
  const shards = redises.length;
  const attempts = hearAttempts(connection, systemClock);
  const handlers = requestHandlers({
    database,
    shards,
    shardAdmin: shardAdmin({ database, shards, redisOf: (shard) => redises[shard] as Redis, attempts }),
    orders,
    archive,
    clock: systemClock,
    restore: (request, progress) => worker.restore(request, progress),
    changed: () => worker.changed(),
  });
  return serve({
    connection,
    fault: (subject, error) => faults(subject)(error),
    handlers: pointsInHandlers(points, handlers),
  });
};

/**
 * One worker process: what compose.ts puts together, on real stores (the broker hands each log record to one of the
 * processes), and the requests. Any number of processes may run; whichever does a thing, it is done once.
 */
export const runWorker = async (options: WorkerOptions): Promise<void> => {
  const { config, log, points, onViolation, ready } = options;
  const unsound = new AbortController();
  const stop = AbortSignal.any([options.stop, unsound.signal]);
  const faults = faultLog(log, systemClock, onViolation);
  countFromZero(config.REDIS_SHARDS.length);
  const stores = await connectStores(options);
  const { redises, database, connection } = stores;
  const settings = new DatabaseSettings(database, config, settingProblems(log, register, tellProblems));
  const waiting = sayWaiting(log, systemClock, `Postgres at ${databasePlace(config.DATABASE_URL)}`);
  await waitForShards(database, settings, redises.length, waiting, stop);

  const tracing = await openTracing("workers", config, log);
  const apply = applyObserver(log, faults);
  const observer: WorkerObserver = {
    apply: tracing === undefined ? apply : tracedApply(apply, tracing),
    restored: ({ shard, epoch }, end) => {
      restoresTotal.inc({ end });
      log.info({ shard, epoch, end }, "rebuild of a shard's Redis from Postgres has ended");
    },
    archived: ({ archived, kept }) => {
      archiveDueSales.set(kept.length);
      archivedTotal.inc(archived.length);
      if (archived.length > 0) log.info({ saleIds: archived }, "sales are archived");
    },
    fault: faults,
  };
  const ports = await workerPorts(stores, { clock: systemClock, observer, points });
  const worker = composeWorker(ports, { ...POLICY, archiveAfterMs: options.config.DOORBUSTER_ARCHIVE_AFTER_MS });
  const running = worker.run(stop);
  // what replaces this process waits at its start
  void settings.watch(systemClock, stop, faults("settings of Postgres"), () => unsound.abort());
  void watchConnection(connection, log, () => worker.reconnected());
  const server = serveRequests(stores, ports, worker, points, faults);
  // What is asked from now on is heard.
  await connection.flush();
  ready();
  log.info({ shards: redises.length }, "worker process serves");

  await running;
  await server.close();
  await closeStores(stores);
  await tracing?.close();
};
