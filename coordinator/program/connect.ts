import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ConnectionOptions as TlsOptions } from "node:tls";
import { Redis, type RedisOptions as AnyRedisOptions } from "ioredis";
import { connect, credsAuthenticator, nkeyAuthenticator, type ConnectionOptions, type NatsConnection } from "nats";
import { slotKeyOf } from "#protocol/shard-map";
import type { Log } from "./log.ts";
import { clusterAddress, sentinelAddress, withoutCredentials } from "./redis-address.ts";
import { slotConnection } from "./redis-cluster.ts";
import { sentinelConnection } from "./redis-sentinel.ts";
import { systemClock } from "./system.ts";
import { tlsOptions, type TlsFiles } from "./tls.ts";
import { sayWaiting } from "./waiting.ts";

export interface RedisOptions {
  /** shown by CLIENT LIST */
  readonly name: string;
  readonly log: Log;
  /** a command that takes longer fails in the client; it may have been executed. 0 = no bound, for blocking reads */
  readonly commandTimeoutMs: number;
  /** commands of one turn of the event loop go out in one write: for connections that carry thousands a second */
  readonly batching?: boolean;
  /** of rediss, rediss-cluster and rediss-sentinel; left out: Node's own CAs */
  readonly tls?: TlsFiles;
}

const RECONNECT_MOST_MS = 500;
const RECONNECT_WAIT_MS = 250;

/** Without the choice of protocol, which would change the type of every answer. */
type IoredisOptions = Omit<AnyRedisOptions, "replyMapping">;

/** A rediss URL alone would be verified by Node's own CAs only. */
const instanceTls = (url: string, { tls }: RedisOptions): { readonly tls?: TlsOptions } =>
  url.startsWith("rediss:") && tls !== undefined ? { tls: tlsOptions(tls) } : {};

const connectTo = (url: string, place: IoredisOptions | undefined, options: RedisOptions): Redis => {
  const settings: IoredisOptions = {
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
  };
  const redis = place === undefined ? new Redis(url, { ...settings, ...instanceTls(url, options) }) : new Redis({ ...settings, ...place });
  // every shard on it listens: the count grows with the shards, it is no leak
  redis.setMaxListeners(0);
  const server = withoutCredentials(url);
  let down = false;
  redis.on("error", (error: Error) => {
    if (!down) options.log.warn({ redis: server, err: error.message }, "Redis does not answer: connecting again until it does");
    down = true;
  });
  redis.on("ready", () => {
    if (down) options.log.info({ redis: server }, "Redis answers again");
    down = false;
  });
  return redis;
};

/** Of a silence that is no more a slow answer, in time-outs of a command. */
const SILENT_TIMEOUTS = 2;

/** How to find the server, where the URL does not name it. */
const serverOf = (url: string, shard: number, { commandTimeoutMs, tls: files = {} }: RedisOptions): IoredisOptions | undefined => {
  const tls = url.startsWith("rediss") ? tlsOptions(files) : undefined;
  const cluster = clusterAddress(url);
  if (cluster !== undefined) return slotConnection(cluster, tls, slotKeyOf(shard));
  const sentinel = sentinelAddress(url);
  return sentinel && sentinelConnection(sentinel, tls, commandTimeoutMs * SILENT_TIMEOUTS);
};

/**
 * A connection to the server of a shard: the instance that the URL names, the node of a cluster that holds the shard's
 * slot, or the primary that sentinels name. It fails fast while the server is away and never sends a command twice: a script whose answer was lost may have
 * run (DESIGN 4.3).
 * @param url an item of REDIS_SHARDS
 */
export const connectShard = (url: string, shard: number, options: RedisOptions): Redis =>
  connectTo(url, serverOf(url, shard, options), options);

/**
 * The connection of each shard, by shard number: shards on the same instance share one; each shard of a cluster has its
 * own, because its slot can move alone.
 * @param urls one a shard
 */
export const connectShards = (urls: readonly string[], options: RedisOptions): readonly Redis[] => {
  const instances = new Map<string, Redis>();
  return urls.map((url, shard) => {
    const place = clusterAddress(url) === undefined ? url : `${url} ${shard}`;
    const redis = instances.get(place) ?? connectShard(url, shard, options);
    instances.set(place, redis);
    return redis;
  });
};

/** The environment variables of a connection to NATS. */
export const NATS_SETTINGS = [
  "NATS_URL",
  "NATS_USER",
  "NATS_PASSWORD",
  "NATS_CREDS_FILE",
  "NATS_NKEY_SEED_FILE",
  "NATS_CA_FILE",
  "NATS_CERT_FILE",
  "NATS_KEY_FILE",
] as const;
export type NatsSettings = { readonly NATS_URL: string } & {
  readonly [Name in Exclude<(typeof NATS_SETTINGS)[number], "NATS_URL">]?: string | undefined;
};

/** A file is read at each connection: a renewed one needs no restart. */
const natsLogin = (config: NatsSettings): ConnectionOptions => {
  const { NATS_CREDS_FILE: creds, NATS_NKEY_SEED_FILE: seed, NATS_USER: user, NATS_PASSWORD: pass } = config;
  if (creds !== undefined) return { authenticator: (nonce) => credsAuthenticator(readFileSync(creds))(nonce) };
  if (seed !== undefined) return { authenticator: (nonce) => nkeyAuthenticator(Buffer.from(readFileSync(seed, "utf8").trim()))(nonce) };
  return { ...(user === undefined ? {} : { user }), ...(pass === undefined ? {} : { pass }) };
};

/** nats.js ignores a URL's scheme: `tls://` must not end in a connection without. */
const natsTls = (config: NatsSettings): ConnectionOptions => {
  const { NATS_CA_FILE: caFile, NATS_CERT_FILE: certFile, NATS_KEY_FILE: keyFile } = config;
  if (caFile === undefined && certFile === undefined && !config.NATS_URL.split(",").some((url) => url.trim().startsWith("tls://")))
    return {};
  const files = { ...(caFile === undefined ? {} : { caFile }), ...(certFile === undefined ? {} : { certFile }) };
  return { tls: { ...files, ...(keyFile === undefined ? {} : { keyFile }) } };
};

const natsOptions = (config: NatsSettings, name: string): ConnectionOptions => ({
  servers: config.NATS_URL.split(","),
  name,
  ...natsLogin(config),
  ...natsTls(config),
});

const foreverOptions = {
  maxReconnectAttempts: -1,
  // a broker that refuses our login twice may be one whose users are being changed
  ignoreAuthErrorAbort: true,
  reconnectTimeWait: RECONNECT_WAIT_MS,
  reconnectJitter: 100,
  pingInterval: 5_000,
  maxPingOut: 2,
} as const satisfies ConnectionOptions;

/** One try, and no other when the connection is lost: for who can do without. @throws if nobody answers within the time */
export const connectNatsOnce = (config: NatsSettings, name: string, withinMs: number): Promise<NatsConnection> =>
  connect({ ...natsOptions(config, name), timeout: withinMs, reconnect: false });

/** A server that takes the connection and says nothing is given up and tried anew. */
const NATS_CONNECT_MS = 3_000;

/** Without credentials, which nats.js ignores in a URL anyway. */
const natsPlace = ({ NATS_URL }: NatsSettings): string =>
  `NATS at ${NATS_URL.split(",")
    .map((url) => withoutCredentials(url))
    .join(", ")}`;

/**
 * Tries until the broker is there, and says after a moment what it waits for; from then on it reconnects for ever. Credentials
 * go in options because the client ignores those in the URL (DESIGN 13).
 * @returns undefined when stopped before
 */
export const connectNatsUntil = async (
  config: NatsSettings,
  name: string,
  log: Log | undefined,
  stop: AbortSignal,
): Promise<NatsConnection | undefined> => {
  const waiting = log === undefined ? undefined : sayWaiting(log, systemClock, natsPlace(config));
  while (!stop.aborted) {
    try {
      const connection = await connect({ ...natsOptions(config, name), ...foreverOptions, timeout: NATS_CONNECT_MS });
      waiting?.over();
      return connection;
    } catch (error) {
      waiting?.failed(error);
      await delay(RECONNECT_WAIT_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }
  return undefined;
};

/** As connectNatsUntil, for whom nothing stops. @param log left out: it waits without a word */
export const connectNats = async (config: NatsSettings, name: string, log?: Log): Promise<NatsConnection> =>
  (await connectNatsUntil(config, name, log, new AbortController().signal)) as NatsConnection;
