import type { NatsConnection } from "nats";
import { register, type Registry } from "prom-client";
import {
  connectNats,
  createLog,
  NATS_SETTINGS,
  noCrashPoints,
  readConfig,
  REDIS_TLS_SETTINGS,
  redisTls,
  type Config,
  type CrashPoints,
  type Log,
  type OnViolation,
  type RedisTlsSettings,
} from "#program";
import { systemClock, systemRandom } from "#program/system";
import { InvariantViolation } from "#lua/core/invariant";
import { countStoreRefusals } from "./store-refusals.ts";
import { countViolations } from "./violations.ts";
import { composeBuyService } from "./buy/compose.ts";
import { FIXED_POLICY, type BuyPolicy } from "./buy/policy.ts";
import type { BuyPorts, Tickets } from "./buy/service-ports.ts";
import type { BuyService } from "./buy/service.ts";
import { ticketKeys, ticketReader, type TicketKeys } from "./identity/ticket.ts";
import { callMetrics, registerOutboxLimit, registerReadings } from "./metrics.ts";
import { RedisConnections } from "./stores/connections.ts";
import { hintDry } from "./stores/dry-hint.ts";
import { archivedOrders } from "./stores/archived-orders.ts";
import { orderStore, subscribeOrders } from "./stores/order-store.ts";
import { watchBucket } from "./stores/sale-bucket.ts";
import { findSales } from "./stores/sale-finder.ts";
import { redisPurchaseStore } from "./stores/purchase-store.ts";
import { soldOutStore } from "./stores/sold-out-store.ts";
import { subscribeStatus } from "./stores/status-feed.ts";
import { systemTurn, systemWallClock } from "./stores/system.ts";

const POLICY_SETTINGS = [
  "DOORBUSTER_BUYER_RATE",
  "DOORBUSTER_BUYER_BURST",
  "DOORBUSTER_ADDRESS_RATE",
  "DOORBUSTER_ADDRESS_BURST",
  "DOORBUSTER_READ_RATE",
  "DOORBUSTER_READ_BURST",
  "DOORBUSTER_READ_CEILING",
  "DOORBUSTER_SALE_RATE",
  "DOORBUSTER_SALE_BURST",
  "DOORBUSTER_BUCKETS",
  "DOORBUSTER_QUEUE_LIMIT",
  "DOORBUSTER_DECISION_TIMEOUT_MS",
] as const;
const STORE_SETTINGS = ["REDIS_SHARDS", "DOORBUSTER_OUTBOX_LIMIT"] as const;

/** The environment variables of a process that decides purchases (coordinator/program/settings.ts has their meaning). */
export const BUY_SETTINGS = [
  "NODE_ENV",
  ...REDIS_TLS_SETTINGS,
  ...NATS_SETTINGS,
  "DOORBUSTER_TICKET_KEYS",
  ...STORE_SETTINGS,
  ...POLICY_SETTINGS,
] as const;
export type BuyConfig = Config<(typeof BUY_SETTINGS)[number]>;

const policyOf = (config: Config<(typeof POLICY_SETTINGS)[number]>): BuyPolicy => ({
  ...FIXED_POLICY,
  limits: {
    buyer: { rate: config.DOORBUSTER_BUYER_RATE, burst: config.DOORBUSTER_BUYER_BURST },
    address: { rate: config.DOORBUSTER_ADDRESS_RATE, burst: config.DOORBUSTER_ADDRESS_BURST },
    sale: { rate: config.DOORBUSTER_SALE_RATE, burst: config.DOORBUSTER_SALE_BURST },
    slots: config.DOORBUSTER_BUCKETS,
  },
  reads: {
    buyer: { rate: config.DOORBUSTER_READ_RATE, burst: config.DOORBUSTER_READ_BURST },
    address: { rate: config.DOORBUSTER_ADDRESS_RATE, burst: config.DOORBUSTER_ADDRESS_BURST },
    // a second's worth at once
    ceiling: { rate: config.DOORBUSTER_READ_CEILING, burst: Math.max(1, config.DOORBUSTER_READ_CEILING) },
    slots: config.DOORBUSTER_BUCKETS,
  },
  queueLimit: config.DOORBUSTER_QUEUE_LIMIT,
  decisionTimeoutMs: config.DOORBUSTER_DECISION_TIMEOUT_MS,
});

export interface StoreOptions {
  readonly config: Config<(typeof STORE_SETTINGS)[number] | (typeof POLICY_SETTINGS)[number]> & RedisTlsSettings;
  /** stays the caller's: `drain` does not close it */
  readonly nats: NatsConnection;
  readonly tickets: Tickets;
  readonly log: Log;
  readonly registry: Registry;
  readonly points?: CrashPoints;
  /** called with each invariant violation; by default it is counted and logged */
  readonly onViolation?: OnViolation | undefined;
}

/** The outside that ships: Redis, NATS and this process's clocks. */
const realPorts = ({ config, nats, tickets, log, registry, points = noCrashPoints, onViolation }: StoreOptions): BuyPorts => {
  const clock = systemClock;
  const { REDIS_SHARDS: urls, DOORBUSTER_OUTBOX_LIMIT: outboxLimit } = config;
  const connections = new RedisConnections(urls, { name: "gateway", log, commandTimeoutMs: 0, tls: redisTls(config) }, clock.monotonicMs());
  const reportViolation = onViolation ?? countViolations(registry, log, clock);
  return {
    shards: urls.map((_, shard) => points("buy", redisPurchaseStore(connections.of(shard), shard, outboxLimit))),
    connections,
    clock,
    wallClock: systemWallClock,
    turn: systemTurn,
    random: systemRandom,
    tickets,
    soldOut: points(
      "soldOut",
      soldOutStore(nats, (shard) => connections.of(shard)),
    ),
    findSales: (ids) => findSales(nats, ids, urls.length),
    purchaseOrders: archivedOrders(nats),
    followSales: (book, onLoaded, stop) => watchBucket({ nats, book, clock, log, stop, shards: urls.length, onLoaded }),
    followStatus: (listener) => subscribeStatus(nats, log, listener),
    orders: points("orders", orderStore(nats)),
    followOrders: (listener) => subscribeOrders(nats, log, listener),
    hintDry: (shard, hint) => hintDry(nats, shard, hint),
    untilDue: ({ everyMs }, stop) => clock.sleep(everyMs, stop),
    ...callMetrics(registry),
    onRefused: countStoreRefusals(registry, log, clock),
    onFault: (error, what) => {
      if (error instanceof InvariantViolation) reportViolation(error);
      log.debug({ err: error }, what);
    },
  };
};

/** The service on real stores. It runs until `drain`. */
export const buyServiceOn = (options: StoreOptions): BuyService => {
  const { readings, ...service } = composeBuyService(realPorts(options), policyOf(options.config));
  registerReadings(options.registry, readings);
  registerOutboxLimit(options.registry, options.config.DOORBUSTER_OUTBOX_LIMIT);
  return service;
};

export interface OpenBuyService {
  readonly service: BuyService;
  readonly tickets: TicketKeys;
  /** gives the connection to NATS up; after the service's `drain`, which gives up those to Redis */
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly config: BuyConfig;
  readonly log: Log;
  /** prom-client's default registry if left out */
  readonly registry?: Registry;
  readonly points?: CrashPoints;
  /**
   * called with each invariant violation (the purchase is refused); the host may end its process for it, or count it. By default
   * `doorbuster_gateway_invariant_violations_total` counts it, and it is logged
   */
  readonly onViolation?: OnViolation;
}

/** Connects to NATS (waits as long as it takes) and puts a service on the configured stores. */
export const openBuyService = async ({ config, log, registry = register, points, onViolation }: OpenOptions): Promise<OpenBuyService> => {
  const nats = await connectNats(config, "gateway", log);
  const tickets = ticketKeys(config.DOORBUSTER_TICKET_KEYS);
  const given = points === undefined ? {} : { points };
  const service = buyServiceOn({ config, nats, tickets: ticketReader(tickets), log, registry, onViolation, ...given });
  return { service, tickets, close: () => nats.close() };
};

/**
 * For an app of your own: the same from environment variables, with a log on standard output.
 * @throws ConfigError that lists everything that is wrong with them
 */
export const openBuyServiceFrom = (
  environment: Readonly<Record<string, string | undefined>>,
  options: Pick<OpenOptions, "onViolation"> = {},
): Promise<OpenBuyService> => {
  const config = readConfig([...BUY_SETTINGS, "DOORBUSTER_RUN", "DOORBUSTER_LOG_LEVEL"], environment);
  return openBuyService({ config, log: createLog("gateway", config), ...options });
};
