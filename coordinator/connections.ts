import { hostname } from "node:os";
import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { stock } from "#lua/stock/stock";
import { withdraw } from "#lua/stock/withdraw";
import type { Config } from "#program/config";
import type { CrashPoints } from "#program/crash-points";
import { connectShard, connectShards } from "#program/connect";
import type { Log } from "#program/log";
import { placeOf } from "#program/redis-address";
import { redisTls, type RedisTlsSettings } from "#program/tls";
import type { SettingProblems } from "#program/setting-problems";
import type { Tracing } from "#program/tracing/tracing";
import { hear, publish } from "#program/requests/publish";
import type { Clock, Random } from "#protocol/ports";
import { publications } from "#protocol/requests/publications";
import type { CoordinatorObserver, CoordinatorPorts, KeeperPorts } from "./compose.ts";
import { SalesView } from "./sales/sold-out/sales.ts";
import { createBroker, type Broker } from "./shards/log/broker.ts";
import { createShardLog } from "./shards/log/shard-log.ts";
import { tracedLog } from "./shards/log/traced-log.ts";
import { createShardStore } from "./shards/redis-store.ts";
import { createStoreSettings } from "./shards/store-settings.ts";
import { createSaleFacts, createUnitFacts } from "./shards/rows/requests.ts";
import { createRows } from "./shards/rows/rows.ts";

export const COMMAND_TIMEOUT_MS = 2_000;
/** Blocking reads wait a quarter of a second: no answer for this long is a dead peer. */
const READ_TIMEOUT_MS = 5_000;

export interface ConnectionOptions {
  readonly config: Config<"REDIS_SHARDS" | "DOORBUSTER_LOG_BYTES"> & RedisTlsSettings;
  readonly connection: NatsConnection;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  readonly points: CrashPoints;
  readonly observer: CoordinatorObserver;
  readonly problems: SettingProblems;
  readonly tracing?: Tracing | undefined;
}

/** What of a coordinator's outside is real: its stores, the broker and the workers behind it. */
export interface CoordinatorConnections {
  readonly ports: CoordinatorPorts;
  isBrokerUp(): boolean;
  /** ends the connections to Redis; the one to the broker is its owner's */
  close(): void;
}

/** Connects to every shard's Redis; whatever is away is tried again for as long as it takes. */
export const openConnections = async (options: ConnectionOptions): Promise<CoordinatorConnections> => {
  const { config, connection, log, clock, random, points, observer } = options;
  const brokerListeners: (() => void)[] = [];
  const broker = await createBroker(connection, () => {
    for (const listener of brokerListeners) listener();
  });
  const servers = connectShards(config.REDIS_SHARDS, {
    name: "coordinator",
    log,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    tls: redisTls(config),
  });
  const redisOf = (shard: number): Redis => {
    const redis = servers[shard];
    if (redis === undefined) throw new Error(`shard ${shard} is not configured`);
    return redis;
  };
  const stockOn: CoordinatorPorts["soldOut"]["stock"] = (shard, saleId) => stock(redisOf(shard), { shard, saleId });
  const isBrokerUp = (): boolean => broker.id() !== "";
  return {
    isBrokerUp,
    close: () => {
      for (const redis of new Set(servers)) redis.disconnect();
    },
    ports: {
      clock,
      random,
      observer,
      holder: `${hostname()}/${process.pid}`,
      shards: servers.map((redis, shard) => keeperPorts(options, broker, redis, shard)),
      sales: new SalesView(connection, clock, (error) => observer.fault("sales", error)),
      soldOut: points("soldOut", { ...createSaleFacts(connection), stock: stockOn }),
      transfers: points("transfers", {
        ...createUnitFacts(connection),
        stock: stockOn,
        withdraw: (request) => withdraw(redisOf(request.shard), request),
      }),
      feeds: {
        onApplied: (listener) =>
          void hear(connection, publications.applied, { heard: ({ shard, epoch, applied }) => listener(shard, epoch, applied) }),
        onDry: (listener) =>
          void hear(connection, publications.dry, {
            heard: ({ saleId, units }, shard) => {
              if (shard < servers.length) listener(shard, saleId, units);
            },
          }),
        onBrokerBack: (listener) => void brokerListeners.push(listener),
        onRedisBack: (listener) => {
          for (const [shard, redis] of servers.entries()) redis.on("ready", () => listener(shard));
        },
      },
      publishAttempt: (shard, news) => {
        // what waits in the client is sent late, and would then be wrong
        if (isBrokerUp()) publish(connection, publications.attempt, shard, news);
      },
    },
  };
};

const keeperPorts = (
  { config, log, random, points, problems, tracing }: ConnectionOptions,
  broker: Broker,
  redis: Redis,
  shard: number,
): KeeperPorts => {
  const urls = config.REDIS_SHARDS;
  const maxBytes = config.DOORBUSTER_LOG_BYTES;
  const store = createShardStore(shard, redis, () =>
    connectShard(urls[shard] ?? "", shard, {
      name: `coordinator-outbox-${shard}`,
      log,
      commandTimeoutMs: READ_TIMEOUT_MS,
      tls: redisTls(config),
    }),
  );
  const shardLog = createShardLog({ shard, shards: urls.length, maxBytes, broker, random });
  return {
    store: points("shard", { ...store, openOutbox: () => points("outbox", store.openOutbox()) }),
    rows: points("rows", createRows(broker.connection, shard)),
    log: points("log", tracing === undefined ? shardLog : tracedLog(shard, shardLog, tracing)),
    settings: createStoreSettings({ redis, place: placeOf(urls[shard] ?? "", shard), broker, maxBytes, problems }),
  };
};
