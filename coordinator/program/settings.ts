import { accessSync, constants } from "node:fs";
import { z } from "zod";
import { parseCrashAt } from "./crash-points.ts";
import { readOrigin } from "./origins.ts";
import { clusterAddress, isInstanceUrl, sentinelAddress, shardUrls } from "./redis-address.ts";
import { readTrustedProxies } from "./trusted-proxies.ts";

const isReadable = (path: string): boolean => {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
};

/**
 * Every environment variable of every program, with its meaning. A program picks the ones it reads (config.ts);
 * a variable that begins with DOORBUSTER_ and is not here is an error in all of them. `.env.example` lists the same.
 */
const text = z.string().min(1);
/** path of a file that is there; its content is read whenever a connection is made */
const file = text.refine(isReadable, "cannot be read: is there such a file, and may this user read it?").optional();
const port = z.coerce.number().int().min(0).max(65_535);
const count = z.coerce.number().int().min(1);
const ms = z.coerce.number().int().min(1);
const rate = z.coerce.number().min(0);
const flag = z.enum(["true", "false"]).transform((value) => value === "true");
const redisUrls = text.transform((value, context) => {
  const urls = shardUrls(value);
  for (const [shard, url] of urls.entries()) {
    if (!isInstanceUrl(url) && clusterAddress(url) === undefined && sentinelAddress(url) === undefined)
      context.addIssue({
        code: "custom",
        message:
          `shard ${shard}: not a redis:// or rediss:// URL, nor redis-cluster://host:port[;host:port], ` +
          "nor redis-sentinel://host:port[;host:port]/name",
      });
  }
  return urls;
});

/** @returns the items between commas, without blanks */
const items = (value: string): string[] =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

const hosts = z
  .string()
  .default("")
  .transform((value, context) => {
    const listed = items(value);
    for (const host of listed) {
      if (!/^(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-fA-F:]+\](:\d{1,5})?$/.test(host))
        context.addIssue({ code: "custom", message: `'${host}': not a host, host:port or *.domain` });
    }
    return listed;
  });

const origins = z
  .string()
  .default("")
  .transform((value, context) =>
    items(value).map((item) => {
      const read = readOrigin(item);
      if ("origin" in read) return read.origin;
      context.addIssue({ code: "custom", message: `'${item}' ${read.why}` });
      return item;
    }),
  );

/** `<key id>:<secret>` pairs; the first signs, all verify. */
const ticketKeys = text.transform((value, context) => {
  const keys = value.split(",").map((pair) => {
    const match = /^([A-Za-z0-9_-]{1,16}):(.{16,})$/.exec(pair.trim());
    if (match === null) context.addIssue({ code: "custom", message: "each key is <id>:<secret>, the secret at least 16 characters" });
    return { id: match?.[1] ?? "", secret: match?.[2] ?? "" };
  });
  if (new Set(keys.map(({ id }) => id)).size < keys.length) context.addIssue({ code: "custom", message: "a key id is given twice" });
  return keys;
});

/** Separated by blanks or lines: all are accepted, so that a new one can be handed out before the old one goes. */
const tokens = z.string().transform((value, context) => {
  const listed = value.split(/\s+/).filter((token) => token !== "");
  if (listed.length === 0 || listed.some((token) => token.length < 16 || !/^[\x21-\x7e]+$/.test(token)))
    context.addIssue({ code: "custom", message: "each token is at least 16 plain characters; several are separated by blanks or lines" });
  return listed;
});

const trustedProxies = z.string().superRefine((value, context) => {
  const read = readTrustedProxies(value);
  if (typeof read === "string") context.addIssue({ code: "custom", message: read });
});

const addressHeader = z
  .string()
  .regex(/^[A-Za-z0-9-]*$/, "not the name of a header")
  .refine(
    (name) => name.toLowerCase() !== "forwarded",
    "Forwarded (RFC 7239) is not read: use X-Forwarded-For or a header with the address alone",
  );

const crashAt = text.transform((value, context) => {
  const at = parseCrashAt(value);
  if (at !== undefined) return at;
  context.addIssue({ code: "custom", message: "not <port>.<call>:before|after[:<pass>][:pause]" });
  return z.NEVER;
});

export const settings = {
  /**
   * One URL a shard, comma separated; shard N is the N-th. The same URL again puts another shard on the same server; `URL*8`
   * is short for eight times. `redis://` and `rediss://` name an instance, `redis-cluster://host:port;host:port` (any nodes
   * of it; `rediss-cluster` with TLS) a Redis Cluster, in which each shard is on the node that holds its slot,
   * `redis-sentinel://host:port;host:port/name` (`rediss-sentinel`) the primary that these sentinels name.
   */
  REDIS_SHARDS: redisUrls,
  /** PEM: the CA of rediss, rediss-cluster and rediss-sentinel; and our certificate with its key, for servers that ask for one */
  REDIS_CA_FILE: file,
  REDIS_CERT_FILE: file,
  REDIS_KEY_FILE: file,
  /** `nats://host:port`, or `tls://`, comma separated */
  NATS_URL: text,
  NATS_USER: text.optional(),
  NATS_PASSWORD: text.optional(),
  /** instead of user and password: a creds file (JWT and seed), or the seed of an nkey */
  NATS_CREDS_FILE: file,
  NATS_NKEY_SEED_FILE: file,
  /** PEM, as those of Redis; with one of them, as with tls://, a connection without TLS is refused */
  NATS_CA_FILE: file,
  NATS_CERT_FILE: file,
  NATS_KEY_FILE: file,
  DATABASE_URL: text,
  /** PEM: with it every connection to Postgres is TLS, and certificate and host are verified */
  DATABASE_CA_FILE: file,
  NODE_ENV: z.enum(["development", "test", "production"]).default("development"),

  /** names the run that a process belongs to; set by whoever starts the programs */
  DOORBUSTER_RUN: text.default("none"),
  DOORBUSTER_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
  /** standard input is a pipe from the starter; its end means that the starter is gone: stop */
  DOORBUSTER_EXIT_WITH_PARENT: flag.default(false),
  /** tests only, refused in production: where this process dies or stops (crash-points.ts) */
  DOORBUSTER_CRASH_AT: crashAt.optional(),

  /** collector to which spans of sampled purchases are sent, OTLP over HTTP with the path: http://host:4318/v1/traces; without it nothing is traced */
  DOORBUSTER_TRACE_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** share of the purchases that are traced, 0 to 1, chosen by order id: the same ones in all programs */
  DOORBUSTER_TRACE_SHARE: z.coerce.number().min(0).max(1).default(0.01),

  DOORBUSTER_GATEWAY_HOST: text.default("0.0.0.0"),
  DOORBUSTER_GATEWAY_PORT: port.default(8080),
  /** processes that share the gateway's port; 0 = one per core */
  DOORBUSTER_GATEWAY_PROCESSES: z.coerce.number().int().min(0).default(0),
  /** the admin API: never on a public address */
  DOORBUSTER_ADMIN_HOST: text.default("127.0.0.1"),
  DOORBUSTER_ADMIN_PORT: port.default(8081),
  /** callers of the admin API show one of them; our own commands show the first */
  DOORBUSTER_ADMIN_TOKEN: tokens,
  /** the gateway's metrics and health, without a credential: for Prometheus and probes, never on a public address */
  DOORBUSTER_GATEWAY_METRICS_HOST: text.default("127.0.0.1"),
  DOORBUSTER_GATEWAY_METRICS_PORT: port.default(8083),
  DOORBUSTER_TICKET_KEYS: ticketKeys,
  /** buys a second (and burst) that one buyer may make in all sales together, in each gateway process */
  DOORBUSTER_BUYER_RATE: rate.default(5),
  DOORBUSTER_BUYER_BURST: count.default(10),
  /** requests a second (and burst) from one address, in each gateway process; loopback is exempt (it is a proxy of ours) */
  DOORBUSTER_ADDRESS_RATE: rate.default(100),
  DOORBUSTER_ADDRESS_BURST: count.default(200),
  /** GETs a second (and burst) of one buyer's standing, in each gateway process */
  DOORBUSTER_READ_RATE: rate.default(10),
  DOORBUSTER_READ_BURST: count.default(20),
  /** GETs of sales a second that each gateway process answers whoever asks; those above keep the pace of an address, each by its own */
  DOORBUSTER_READ_CEILING: rate.default(50_000),
  /** decisions a second (and burst) that one sale may ask of Redis, in each gateway process */
  DOORBUSTER_SALE_RATE: rate.default(200_000),
  DOORBUSTER_SALE_BURST: count.default(200_000),
  /** how many distinct buyers and addresses each process remembers */
  DOORBUSTER_BUCKETS: count.default(1 << 20),
  /** requests that may wait for Redis, per shard and process; more are answered `busy` */
  DOORBUSTER_QUEUE_LIMIT: count.default(20_000),
  /** how long a decision may take before the buyer hears `try_again` */
  DOORBUSTER_DECISION_TIMEOUT_MS: ms.default(2_000),
  /**
   * whose word about a buyer's address is taken (X-Forwarded-For, PROXY protocol v2): how many proxies are in front, or their
   * addresses and networks, comma separated; 0 = nobody's (deploy/PROXIES.md)
   */
  DOORBUSTER_TRUSTED_PROXIES: trustedProxies.default("0"),
  /** the header in which the trusted proxies put the buyer's address, and nothing else; empty: X-Forwarded-For */
  DOORBUSTER_ADDRESS_HEADER: addressHeader.default(""),
  /** origins besides our own whose pages may buy and read the answers: exact `scheme://host[:port]`, comma separated */
  DOORBUSTER_ALLOWED_ORIGINS: origins,
  /** entries an outbox may hold before buyers hear `busy` */
  DOORBUSTER_OUTBOX_LIMIT: count.default(100_000),
  /** how long a gateway that is told to stop serves as before while its /readyz says 503; 0 = not at all */
  DOORBUSTER_STOP_NOTICE_MS: z.coerce.number().int().min(0).default(5_000),
  /** how long a stopping gateway goes on answering what it holds, after that */
  DOORBUSTER_DRAIN_MS: ms.default(10_000),

  DOORBUSTER_COORDINATOR_HOST: text.default("127.0.0.1"),
  DOORBUSTER_COORDINATOR_PORT: port.default(36_789),
  /** the coordinator's metrics and health, without a credential: for Prometheus and probes, never on a public address */
  DOORBUSTER_COORDINATOR_METRICS_HOST: text.default("127.0.0.1"),
  DOORBUSTER_COORDINATOR_METRICS_PORT: port.default(36_790),
  DOORBUSTER_LEASE_MS: ms.default(3_000),
  DOORBUSTER_OPEN_MS: ms.default(5_000),
  /** bytes that the log may hold; a message can have 150 kB, and a quarter is purged at a time */
  DOORBUSTER_LOG_BYTES: z.coerce
    .number()
    .int()
    .min(16 << 20)
    .default(1 << 30),

  /** hosts that two-phase messages may call besides loopback: `host`, `host:port` or `*.domain`, comma separated */
  DOORBUSTER_CALLABLE_HOSTS: hosts,
  /** callers of the message API must show it as a bearer token; without it the API is open to who can reach the port */
  DOORBUSTER_COORDINATOR_TOKEN: tokens.optional(),
  /** shards, from 0, that new messages are put on; 0 = all. To take shards away: lower it, wait until they hold none, then shorten REDIS_SHARDS */
  DOORBUSTER_MESSAGE_SHARDS: z.coerce.number().int().min(0).default(0),
  /** from prepare to the first query-back, where the message does not say */
  DOORBUSTER_MESSAGE_QUERY_AFTER_MS: ms.default(3_000),
  /** before the second try of a call, where the message does not say; doubled with each further one up to the cap */
  DOORBUSTER_MESSAGE_RETRY_MS: ms.default(1_000),
  DOORBUSTER_MESSAGE_BACKOFF_CAP_MS: ms.default(60_000),
  /** failed rounds in a row before a message is a dead letter: about 90 minutes by the defaults above */
  DOORBUSTER_MESSAGE_ROUNDS: count.default(120),
  /** how long a finished message can still be asked about, and its repeats be recognised */
  DOORBUSTER_MESSAGE_RETENTION_MS: ms.default(24 * 60 * 60 * 1_000),
  /** time-out of one call, where the message does not say */
  DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS: ms.default(3_000),
  /** calls that run at one host at a time, in each coordinator */
  DOORBUSTER_MESSAGE_HOST_CALLS: count.default(128),
  /** between two looks at what is due, and how long a message is held by the coordinator that took it */
  DOORBUSTER_MESSAGE_POLL_MS: ms.default(50),
  DOORBUSTER_MESSAGE_HOLD_MS: ms.default(3_000),
  /** URL that gets a POST for each dead letter */
  DOORBUSTER_MESSAGE_ALERT_URL: z.url({ protocol: /^https?$/ }).optional(),

  /** health and metrics of the workers */
  DOORBUSTER_WORKERS_HOST: text.default("127.0.0.1"),
  DOORBUSTER_WORKERS_PORT: port.default(8_082),
  /** worker processes; 0 = one per core */
  DOORBUSTER_WORKER_PROCESSES: z.coerce.number().int().min(0).default(0),
  DOORBUSTER_DATABASE_POOL: count.default(6),
  /** from the end of a sale until it is archived: it leaves Redis, and Postgres answers for it. 7 days; 0 = only when it is asked for */
  DOORBUSTER_ARCHIVE_AFTER_MS: z.coerce.number().int().min(0).default(604_800_000),
} as const;
export type Settings = typeof settings;
export type SettingName = keyof Settings;
