import type { FastifyInstance } from "fastify";
import type { Redis } from "ioredis";
import type { Registry } from "prom-client";
import { callableHosts } from "#program/callable-hosts";
import { HttpCaller } from "../http-caller.ts";
import { composeMessages, type MessagesPart, type MessagesPolicy } from "../compose.ts";
import type { Leases, MessageWatch } from "../message-ports.ts";
import { RedisMessageStore } from "../redis-store.ts";
import { Topics } from "../topics.ts";
import type { Config } from "#program/config";
import type { CrashPoints } from "#program/crash-points";
import type { Log } from "#program/log";
import { rarely } from "#program/rarely";
import { systemClock, systemRandom } from "#program/system";
import { messageMetrics, type MessageMetrics } from "./metrics.ts";
import { messageRoutes } from "./routes.ts";

/** The variables that the message service reads; for the program that runs it. */
export const MESSAGE_SETTINGS = [
  "DOORBUSTER_CALLABLE_HOSTS",
  "DOORBUSTER_COORDINATOR_TOKEN",
  "DOORBUSTER_MESSAGE_SHARDS",
  "DOORBUSTER_MESSAGE_QUERY_AFTER_MS",
  "DOORBUSTER_MESSAGE_RETRY_MS",
  "DOORBUSTER_MESSAGE_BACKOFF_CAP_MS",
  "DOORBUSTER_MESSAGE_ROUNDS",
  "DOORBUSTER_MESSAGE_RETENTION_MS",
  "DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS",
  "DOORBUSTER_MESSAGE_HOST_CALLS",
  "DOORBUSTER_MESSAGE_POLL_MS",
  "DOORBUSTER_MESSAGE_HOLD_MS",
  "DOORBUSTER_MESSAGE_ALERT_URL",
] as const;

/** What `version` says. */
const VERSION = "doorbuster 0.1.0";
/** One look takes so many messages; so many wait for one host; so many are worked on at a time. */
const BATCH = 500;
const HOST_WAITING = 2_000;
const IN_FLIGHT_MOST = 20_000;

export interface MessageService {
  /** adds the API to a server that does not listen yet */
  mount(app: FastifyInstance): void;
  /** shards that have not answered yet since the process started */
  unheard(): readonly number[];
  /** delivers and asks back until `stop`; then waits for the calls on the wire */
  run(stop: AbortSignal): Promise<void>;
}

export interface MessageServiceParts {
  readonly config: Config<(typeof MESSAGE_SETTINGS)[number]>;
  /** the connection of shard N is the N-th */
  readonly redis: readonly Redis[];
  readonly leases: Leases;
  readonly registry: Registry;
  readonly log: Log;
  readonly points: CrashPoints;
  /** those that callers may show, at the moment; asked only where the configuration has any */
  readonly tokens: () => readonly string[];
}

/** Everything of the two-phase messages that one coordinator runs: compose.ts over Redis and HTTP, and the API. */
export const messageService = (parts: MessageServiceParts): MessageService => {
  const { config, redis, leases, registry, log, points } = parts;
  const store = points("messages", new RedisMessageStore(redis, systemClock));
  const caller = points(
    "caller",
    new HttpCaller({
      connections: config.DOORBUSTER_MESSAGE_HOST_CALLS,
      hosts: config.DOORBUSTER_CALLABLE_HOSTS,
      alertUrl: config.DOORBUSTER_MESSAGE_ALERT_URL ?? "",
    }),
  );
  const callable = callableHosts(config.DOORBUSTER_CALLABLE_HOSTS);
  const metrics: MessageMetrics = messageMetrics(registry, {
    counts: () => composed.messages.counts(),
    inFlight: () => composed.inFlight(),
  });
  const composed: MessagesPart = composeMessages(
    { store, caller, leases, callable, watch: watchMessages(metrics, log), clock: systemClock, random: systemRandom },
    messagesPolicy(config, redis.length),
  );
  const { messages, placement } = composed;
  return {
    mount: (app) =>
      messageRoutes(app, {
        messages,
        topics: new Topics(store),
        callable,
        random: systemRandom,
        metrics,
        registry,
        version: VERSION,
        started: () => placement.started(),
        tokens: config.DOORBUSTER_COORDINATOR_TOKEN && parts.tokens,
        fault: (error) => log.error({ err: error }, "a call of the message API failed"),
      }),
    unheard: () => placement.unheard(),
    run: async (stop) => {
      await composed.run(stop);
      await caller.close();
    },
  };
};

const messagesPolicy = (config: MessageServiceParts["config"], shards: number): MessagesPolicy => ({
  shards,
  placedOn: Math.min(config.DOORBUSTER_MESSAGE_SHARDS || shards, shards),
  policy: {
    queryAfterMs: config.DOORBUSTER_MESSAGE_QUERY_AFTER_MS,
    retryMs: config.DOORBUSTER_MESSAGE_RETRY_MS,
    backoffMostMs: config.DOORBUSTER_MESSAGE_BACKOFF_CAP_MS,
    rounds: config.DOORBUSTER_MESSAGE_ROUNDS,
    retentionMs: config.DOORBUSTER_MESSAGE_RETENTION_MS,
  },
  pollMs: config.DOORBUSTER_MESSAGE_POLL_MS,
  batch: BATCH,
  holdMs: config.DOORBUSTER_MESSAGE_HOLD_MS,
  hostCalls: config.DOORBUSTER_MESSAGE_HOST_CALLS,
  hostWaiting: HOST_WAITING,
  inFlightMost: IN_FLIGHT_MOST,
  requestTimeoutMs: config.DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS,
  alertUrl: config.DOORBUSTER_MESSAGE_ALERT_URL ?? "",
});

const watchMessages = (metrics: MessageMetrics, log: Log): MessageWatch => {
  const isNews = rarely(systemClock);
  return {
    called: (kind, verdict) => metrics.calls.inc({ kind, verdict }),
    dead: (shard, gid, record) => {
      metrics.dead.inc();
      log.error(
        { shard, gid, state: record.state, reason: record.reason, rounds: record.rounds },
        "message is a dead letter: it rests until an operator retries it or fails it",
      );
    },
    troubled: (shard, doing, error) => {
      metrics.troubles.inc();
      const text = (error as Error).message;
      if (isNews(String(shard), text))
        log.warn({ shard, doing, err: text }, "a step on a shard's messages failed: they are delayed, and tried again");
    },
  };
};
