import { setMaxListeners } from "node:events";
import { hostname } from "node:os";
import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { stock } from "#lua/stock/stock";
import { withdraw } from "#lua/stock/withdraw";
import { MESSAGE_SETTINGS, messageService } from "./messages/api/service.ts";
import { tellAttempts } from "./shards/attempt/news.ts";
import { createBroker, type Broker } from "./shards/log/broker.ts";
import { createShardLog } from "./shards/log/shard-log.ts";
import { StreamConfigError } from "./shards/log/stream.ts";
import { createMetrics, type CoordinatorMetrics } from "./metrics.ts";
import type { Config } from "#program/config";
import { noCrashPoints, type CrashPoints } from "#program/crash-points";
import { connectNatsUntil, connectShard, connectShards } from "#program/connect";
import type { ProcessFindings } from "#program/findings";
import type { Log } from "#program/log";
import { systemClock, systemRandom } from "#program/system";
import type { Clock, Random } from "#protocol/ports";
import { hear, publish } from "#program/requests/publish";
import { publications } from "#protocol/requests/publications";
import { createSaleFacts, createUnitFacts } from "./shards/rows/requests.ts";
import { createRows } from "./shards/rows/rows.ts";
import { Keeper } from "./shards/keeper.ts";
import { createShardStore } from "./shards/redis-store.ts";
import { SalesView } from "./sales/sold-out/sales.ts";
import { watchSoldOut } from "./sales/sold-out/watch.ts";
import { createStatusPage } from "./status-page.ts";
import { Mover } from "./sales/transfers/mover.ts";

export const COORDINATOR_SETTINGS = [
  "REDIS_SHARDS",
  "NATS_URL",
  "NATS_USER",
  "NATS_PASSWORD",
  "DOORBUSTER_COORDINATOR_HOST",
  "DOORBUSTER_COORDINATOR_PORT",
  "DOORBUSTER_LEASE_MS",
  "DOORBUSTER_OPEN_MS",
  "DOORBUSTER_LOG_BYTES",
  ...MESSAGE_SETTINGS,
] as const;
export type CoordinatorConfig = Config<(typeof COORDINATOR_SETTINGS)[number]>;

const COMMAND_TIMEOUT_MS = 2_000;
/** Blocking reads wait a quarter of a second: no answer for this long is a dead peer. */
const READ_TIMEOUT_MS = 5_000;

export interface CoordinatorOptions {
  readonly config: CoordinatorConfig;
  readonly log: Log;
  readonly stop: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly points?: CrashPoints;
  /** what to do with what is found that may not be; by default it is counted and logged, and what would go on from it is refused */
  readonly findings?: ProcessFindings;
  /** called with the page's address when it listens */
  readonly listening?: (url: string) => void;
}

interface Shards {
  readonly keepers: readonly Keeper[];
  /** the connection for commands to each shard's server; shards on one server share it */
  readonly redisOf: (shard: number) => Redis;
}

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)];

/**
 * A coordinator: a keeper for every shard, the sold-out decision, and a page that shows how it goes. Whatever is away is
 * tried again for as long as it takes; the process never opens a shard that it could not verify.
 * @throws StreamConfigError if the log is configured so that the protocol cannot work
 */
export const runCoordinator = async (options: CoordinatorOptions): Promise<void> => {
  const { config, log, clock = systemClock } = options;
  const failed = new AbortController();
  const ended = new AbortController();
  // each shard's loops sleep on it: the count grows with the shards, it is no leak
  setMaxListeners(0, ended.signal);
  const end = (): void => ended.abort();
  options.stop.addEventListener("abort", end, { once: true });
  if (options.stop.aborted) end();
  const fatal = (error: unknown): void => {
    if (!(error instanceof StreamConfigError)) return;
    failed.abort(error);
    end();
  };
  const metrics = createMetrics(log, clock, fatal, options.findings);
  let missing = (): readonly string[] => ["broker"];
  let keepers: readonly Keeper[] = [];
  // Own connections: a call of the API never waits behind a rebuild's commands.
  const messageRedis = connectShards(config.REDIS_SHARDS, {
    name: "coordinator-messages",
    log,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    batching: true,
  });
  const messages = messageService({
    config,
    redis: messageRedis,
    leases: { holds: (shard) => keepers[shard]?.holdsLease === true },
    registry: metrics.registry,
    log,
    points: options.points ?? noCrashPoints,
  });
  const page = createStatusPage({
    registry: metrics.registry,
    missing: () => [...missing(), ...messages.unheard().map((shard) => `messages of shard ${shard}`)],
  });
  messages.mount(page);
  options.listening?.(
    await page.listen({
      host: config.DOORBUSTER_COORDINATOR_HOST,
      port: config.DOORBUSTER_COORDINATOR_PORT,
      // this process's own socket: the primary has no part in its connections
      exclusive: true,
    }),
  );
  const delivering = messages.run(ended.signal);
  try {
    const connection = await connectNatsUntil(config, "coordinator", ended.signal);
    if (connection === undefined) return;
    await keepAll(options, metrics, connection, ended.signal, (report, all) => {
      missing = report;
      keepers = all;
    });
    await connection.close();
  } finally {
    end();
    options.stop.removeEventListener("abort", end);
    await delivering;
    await page.close();
    for (const redis of unique(messageRedis)) redis.disconnect();
  }
  if (failed.signal.aborted) throw failed.signal.reason;
};

const keepAll = async (
  options: CoordinatorOptions,
  metrics: CoordinatorMetrics,
  connection: NatsConnection,
  stop: AbortSignal,
  report: (missing: () => readonly string[], keepers: readonly Keeper[]) => void,
): Promise<void> => {
  const { clock = systemClock, points = noCrashPoints } = options;
  const sales = new SalesView(connection, clock, (error) => metrics.fault("sales", error));
  const wake: (() => void)[] = [];
  const broker = await createBroker(connection, () => {
    for (const each of wake) each();
  });
  const shards = openShards(options, metrics, broker);
  const { keepers, redisOf } = shards;
  for (const keeper of keepers) wake.push(() => keeper.wake());
  report(
    () => [
      ...(broker.id() === "" ? ["broker"] : []),
      ...keepers.filter((keeper) => !keeper.isSettled).map((keeper) => `shard ${keeper.shard}`),
    ],
    keepers,
  );
  const facts = createSaleFacts(connection);
  hearApplied(connection, keepers);
  const mover = new Mover({
    ports: points("transfers", {
      ...createUnitFacts(connection),
      stock: (shard, saleId) => stock(redisOf(shard), { shard, saleId }),
      withdraw: (request) => withdraw(redisOf(request.shard), request),
    }),
    clock,
    sale: (saleId) => sales.get(saleId),
    sales: () => sales.all(),
    isOurs: (shard) => keepers[shard]?.isOpen === true,
    moved: (saleId, move) => metrics.moved(saleId, move),
    fault: (error) => metrics.fault("transfers", error),
  });
  hearDry(connection, keepers.length, mover);
  await Promise.all([
    ...keepers.map((keeper) => keeper.run(stop)),
    sales.run(stop),
    mover.run(stop),
    watchSoldOut(
      {
        ports: points("soldOut", { ...facts, stock: (shard, saleId) => stock(redisOf(shard), { shard, saleId }) }),
        clock,
        sales: () => sales.all(),
        isOurs: (shard) => keepers[shard]?.isOpen === true,
        decided: (saleId) => metrics.soldOut(saleId),
        fault: (error) => metrics.fault("sold-out", error),
      },
      stop,
    ),
  ]);
  for (const redis of unique(keepers.map(({ shard }) => redisOf(shard)))) redis.disconnect();
};

const openShards = (options: CoordinatorOptions, metrics: CoordinatorMetrics, broker: Broker): Shards => {
  const { config, log, clock = systemClock, random = systemRandom, points = noCrashPoints } = options;
  const urls = config.REDIS_SHARDS;
  const holder = `${hostname()}/${process.pid}`;
  const servers = connectShards(urls, { name: "coordinator", log, commandTimeoutMs: COMMAND_TIMEOUT_MS });
  const redisOf = (shard: number): Redis => {
    const redis = servers[shard];
    if (redis === undefined) throw new Error(`shard ${shard} is not configured`);
    return redis;
  };
  const keepers = urls.map((url, shard) => {
    const store = createShardStore(shard, redisOf(shard), () =>
      connectShard(url, shard, { name: `coordinator-outbox-${shard}`, log, commandTimeoutMs: READ_TIMEOUT_MS }),
    );
    const keeper = new Keeper({
      shard,
      leaseMs: config.DOORBUSTER_LEASE_MS,
      openMs: config.DOORBUSTER_OPEN_MS,
      store: points("shard", { ...store, openOutbox: () => points("outbox", store.openOutbox()) }),
      rows: points("rows", createRows(broker.connection, shard)),
      log: points("log", createShardLog({ shard, shards: urls.length, maxBytes: config.DOORBUSTER_LOG_BYTES, broker, random })),
      clock,
      random,
      holder,
      observer: tellAttempts(metrics.shard(shard), { shard, holder }, (news) => {
        // what waits in the client is sent late, and would then be wrong
        if (broker.id() !== "") publish(broker.connection, publications.attempt, shard, news);
      }),
    });
    redisOf(shard).on("ready", () => keeper.wake());
    return keeper;
  });
  return { keepers, redisOf };
};

/** Workers tell what they have applied; the relays pace themselves by it. */
const hearApplied = (connection: NatsConnection, keepers: readonly Keeper[]): void => {
  hear(connection, publications.applied, { heard: ({ shard, epoch, applied }) => keepers[shard]?.heardApplied(epoch, applied) });
};

/** Gateways tell where units are asked for in vain. */
const hearDry = (connection: NatsConnection, shards: number, mover: Mover): void => {
  hear(connection, publications.dry, {
    heard: ({ saleId, units }, shard) => {
      if (shard < shards) mover.hint(shard, saleId, units);
    },
  });
};
