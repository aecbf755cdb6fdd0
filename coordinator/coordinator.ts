import { setMaxListeners } from "node:events";
import { fastify, type FastifyInstance } from "fastify";
import type { Redis } from "ioredis";
import type { Config } from "#program/config";
import { noCrashPoints, type CrashPoints } from "#program/crash-points";
import { connectNatsUntil, connectShards, NATS_SETTINGS } from "#program/connect";
import type { ProcessViolations } from "#program/violations";
import type { Log } from "#program/log";
import { createStatusServer, healthRoutes } from "#program/status-server";
import { systemClock, systemRandom } from "#program/system";
import { REDIS_TLS_SETTINGS, redisTls } from "#program/tls";
import { openTracing, TRACE_SETTINGS } from "#program/tracing/tracing";
import type { Clock, Random } from "#protocol/ports";
import { composeCoordinator } from "./compose.ts";
import { COMMAND_TIMEOUT_MS, openConnections } from "./connections.ts";
import { MESSAGE_SETTINGS, messageService, type MessageService } from "./messages/api/service.ts";
import { createMetrics, type CoordinatorMetrics } from "./metrics.ts";

export const COORDINATOR_SETTINGS = [
  "REDIS_SHARDS",
  ...REDIS_TLS_SETTINGS,
  ...NATS_SETTINGS,
  "DOORBUSTER_COORDINATOR_HOST",
  "DOORBUSTER_COORDINATOR_PORT",
  "DOORBUSTER_COORDINATOR_METRICS_HOST",
  "DOORBUSTER_COORDINATOR_METRICS_PORT",
  "DOORBUSTER_LEASE_MS",
  "DOORBUSTER_OPEN_MS",
  "DOORBUSTER_LOG_BYTES",
  ...TRACE_SETTINGS,
  ...MESSAGE_SETTINGS,
] as const;
type CoordinatorConfig = Config<(typeof COORDINATOR_SETTINGS)[number]>;

export interface CoordinatorRunOptions {
  readonly config: CoordinatorConfig;
  readonly log: Log;
  readonly stop: AbortSignal;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly points?: CrashPoints;
  /** what to do with an invariant violation; by default it is counted and logged, and what would go on from it is refused */
  readonly violations?: ProcessViolations;
  /** the tokens of the message API at the moment; by default those of the configuration */
  readonly tokens?: () => readonly string[];
  /** called with its addresses when it listens */
  readonly listening?: (addresses: CoordinatorAddresses) => void;
}

export interface CoordinatorAddresses {
  /** of the message API, with health */
  readonly url: string;
  /** of metrics and health */
  readonly metrics: string;
}

/** What the pages and the messages see of the part that needs the broker: nothing, before it is there. */
interface ShardsStatus {
  missing: () => readonly string[];
  stuck: () => readonly string[];
  holdsLease: (shard: number) => boolean;
}

/**
 * A coordinator: everything of compose.ts over the real stores, the two-phase messages, and pages that show how it goes.
 * Whatever is away is tried again for as long as it takes; the process never opens a shard that it could not verify.
 */
export const runCoordinator = async (options: CoordinatorRunOptions): Promise<void> => {
  const { config, log, clock = systemClock } = options;
  const ending = new AbortController();
  const stop = AbortSignal.any([options.stop, ending.signal]);
  // each shard's loops sleep on it: the count grows with the shards, it is no leak
  setMaxListeners(0, stop);
  const metrics = createMetrics(log, clock, options.violations);
  const status: ShardsStatus = { missing: () => ["broker"], stuck: () => [], holdsLease: () => false };
  // Own connections: a call of the API never waits behind a rebuild's commands.
  const messageRedis = connectShards(config.REDIS_SHARDS, {
    name: "coordinator-messages",
    log,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    batching: true,
    tls: redisTls(config),
  });
  const messages = messagesOf(options, metrics, messageRedis, status);
  const pages = await openPages(options, metrics, messages, status, stop);
  const delivering = messages.run(stop);
  try {
    await keepShards(options, metrics, stop, status);
  } finally {
    // also for a fault in between: nothing may run on
    ending.abort();
    await delivering;
    await Promise.all(pages.map((page) => page.close()));
    for (const redis of new Set(messageRedis)) redis.disconnect();
  }
};

const messagesOf = (
  { config, log, points = noCrashPoints, tokens = () => config.DOORBUSTER_COORDINATOR_TOKEN ?? [] }: CoordinatorRunOptions,
  { registry }: CoordinatorMetrics,
  redis: readonly Redis[],
  status: ShardsStatus,
): MessageService =>
  messageService({ config, redis, leases: { holds: (shard) => status.holdsLease(shard) }, registry, log, points, tokens });

/** The message API on its port and what the program's operators ask on another; both tell its health. */
const openPages = async (
  { config, listening }: CoordinatorRunOptions,
  { registry, settings }: CoordinatorMetrics,
  messages: MessageService,
  status: ShardsStatus,
  stop: AbortSignal,
): Promise<readonly FastifyInstance[]> => {
  const ready = () => {
    const waitingFor = [...status.missing(), ...messages.unheard().map((shard) => `messages of shard ${shard}`)];
    return {
      ok: waitingFor.length === 0 && !stop.aborted,
      waitingFor,
      isStopping: stop.aborted,
      stuck: status.stuck(),
      settings: settings.all(),
    };
  };
  const page = createStatusServer({ ready, metrics: () => registry.metrics() });
  const api = fastify({ logger: false });
  healthRoutes(api, ready);
  messages.mount(api);
  // this process's own sockets: the primary has no part in their connections
  const exclusive = true;
  const { DOORBUSTER_COORDINATOR_METRICS_HOST: host, DOORBUSTER_COORDINATOR_METRICS_PORT: port } = config;
  const metrics = await page.listen({ host, port, exclusive });
  const url = await api.listen({ host: config.DOORBUSTER_COORDINATOR_HOST, port: config.DOORBUSTER_COORDINATOR_PORT, exclusive });
  listening?.({ url, metrics });
  return [api, page];
};

const keepShards = async (
  options: CoordinatorRunOptions,
  observer: CoordinatorMetrics,
  stop: AbortSignal,
  status: ShardsStatus,
): Promise<void> => {
  const { config, log, clock = systemClock, random = systemRandom, points = noCrashPoints } = options;
  const connection = await connectNatsUntil(config, "coordinator", log, stop);
  if (connection === undefined) return;
  const tracing = await openTracing("coordinator", config, log);
  const problems = observer.settings;
  const connections = await openConnections({ config, connection, log, clock, random, points, observer, problems, tracing });
  const coordinator = composeCoordinator(connections.ports, { leaseMs: config.DOORBUSTER_LEASE_MS, openMs: config.DOORBUSTER_OPEN_MS });
  status.missing = () => [...(connections.isBrokerUp() ? [] : ["broker"]), ...coordinator.missing()];
  status.stuck = () => coordinator.stuck();
  status.holdsLease = (shard) => coordinator.keepers[shard]?.holdsLease === true;
  await coordinator.run(stop);
  connections.close();
  await connection.close();
  await tracing?.close();
};
