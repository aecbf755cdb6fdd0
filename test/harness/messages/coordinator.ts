import { pino } from "pino";
import { COORDINATOR_SETTINGS, runCoordinator, type CoordinatorAddresses } from "../../../coordinator/index.ts";
import { readConfig } from "#program";
import { startNats, startRedis, until, type NatsServer, type RedisServer } from "../index.ts";

export interface Stores {
  readonly redis: readonly RedisServer[];
  readonly nats: NatsServer;
  stop(): Promise<void>;
}

/** The servers that a coordinator needs; `count` Redis servers, one shard each. */
export const startStores = async (count: number): Promise<Stores> => {
  const nats = await startNats();
  const redis = await Promise.all(Array.from({ length: count }, () => startRedis()));
  return {
    redis,
    nats,
    stop: async () => {
      await Promise.all([nats.stop(), ...redis.map((server) => server.stop())]);
    },
  };
};

export type Variables = Readonly<Record<string, string>>;

/** Sub-second everything, so that a test of a rule about seconds takes milliseconds. */
const QUICK: Variables = {
  DOORBUSTER_LEASE_MS: "600",
  DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "100",
  DOORBUSTER_MESSAGE_RETRY_MS: "40",
  DOORBUSTER_MESSAGE_BACKOFF_CAP_MS: "200",
  DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS: "400",
  DOORBUSTER_MESSAGE_HOLD_MS: "500",
  DOORBUSTER_MESSAGE_POLL_MS: "10",
};

export const environmentOf = (stores: Stores, variables: Variables, shards = stores.redis.length): Variables => ({
  REDIS_SHARDS: stores.redis
    .slice(0, shards)
    .map((server) => server.url)
    .join(","),
  NATS_URL: stores.nats.url,
  NATS_USER: stores.nats.user,
  NATS_PASSWORD: stores.nats.pass,
  DOORBUSTER_COORDINATOR_PORT: "0",
  DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
  ...QUICK,
  ...variables,
});

export interface RunningCoordinator extends CoordinatorAddresses {
  /** ends when the process would have ended */
  stop(): Promise<void>;
}

/** A coordinator inside this process; resolves when it holds the lease of every shard. */
export const startCoordinator = async (stores: Stores, variables: Variables = {}, shards?: number): Promise<RunningCoordinator> => {
  const config = readConfig(COORDINATOR_SETTINGS, environmentOf(stores, variables, shards));
  const stop = new AbortController();
  let addresses: CoordinatorAddresses | undefined;
  const ended = runCoordinator({
    config,
    log: pino({ level: "silent" }),
    stop: stop.signal,
    listening: (at) => {
      addresses = at;
    },
  });
  await until(() => addresses !== undefined, "the coordinator to listen");
  const { url, metrics } = addresses as unknown as CoordinatorAddresses;
  await until(async () => {
    const text = await (await fetch(`${metrics}/metrics`)).text();
    return config.REDIS_SHARDS.every((_, shard) => text.includes(`doorbuster_shard_lease{shard="${shard}"} 1`));
  }, "the coordinator to hold every shard's lease");
  return {
    url,
    metrics,
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
};
