import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { connect, type ConnectionOptions, type NatsConnection } from "nats";
import type { Log } from "./log.ts";

export interface RedisOptions {
  /** shown by CLIENT LIST */
  readonly name: string;
  readonly log: Log;
  /** a command that takes longer fails in the client; it may have been executed. 0 = no bound, for blocking reads */
  readonly commandTimeoutMs: number;
  /** commands of one turn of the event loop go out in one write: for connections that carry thousands a second */
  readonly batching?: boolean;
}

const RECONNECT_MOST_MS = 500;
const RECONNECT_WAIT_MS = 250;

/**
 * A connection that fails fast while the server is away and never sends a command twice: a script whose answer was
 * lost may have run (DESIGN 4.3).
 */
export const connectRedis = (url: string, options: RedisOptions): Redis => {
  const redis = new Redis(url, {
    connectionName: options.name,
    lazyConnect: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 2_000,
    enableReadyCheck: true,
    enableAutoPipelining: options.batching ?? false,
    retryStrategy: (attempt) => Math.min(attempt * 50, RECONNECT_MOST_MS),
    ...(options.commandTimeoutMs > 0 ? { commandTimeout: options.commandTimeoutMs } : {}),
  });
  let down = false;
  redis.on("error", (error: Error) => {
    if (!down) options.log.warn({ redis: redis.options.port, err: error.message }, "redis is away");
    down = true;
  });
  redis.on("ready", () => {
    if (down) options.log.info({ redis: redis.options.port }, "redis is back");
    down = false;
  });
  return redis;
};

export interface NatsSettings {
  readonly NATS_URL: string;
  readonly NATS_USER?: string | undefined;
  readonly NATS_PASSWORD?: string | undefined;
}

const natsOptions = (config: NatsSettings, name: string): ConnectionOptions => ({
  servers: config.NATS_URL.split(","),
  name,
  ...(config.NATS_USER === undefined ? {} : { user: config.NATS_USER }),
  ...(config.NATS_PASSWORD === undefined ? {} : { pass: config.NATS_PASSWORD }),
  maxReconnectAttempts: -1,
  reconnectTimeWait: RECONNECT_WAIT_MS,
  reconnectJitter: 100,
  pingInterval: 5_000,
  maxPingOut: 2,
});

/** Reconnects for ever; credentials go in options because the client ignores those in the URL (DESIGN 13). */
export const connectNats = (config: NatsSettings, name: string): Promise<NatsConnection> =>
  connect({ ...natsOptions(config, name), waitOnFirstConnect: true });

/** As connectNats, but a program that is stopped before the broker is there can end. @returns undefined when stopped */
export const connectNatsUntil = async (config: NatsSettings, name: string, stop: AbortSignal): Promise<NatsConnection | undefined> => {
  while (!stop.aborted) {
    try {
      return await connect(natsOptions(config, name));
    } catch {
      await delay(RECONNECT_WAIT_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }
  return undefined;
};
