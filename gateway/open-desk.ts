import { connectNats, createLog, noCrashPoints, readConfig, type Config, type CrashPoints, type Log, type OnBroken } from "#program";
import { register, type Registry } from "prom-client";
import { createDesk, type Desk } from "./buy/desk.ts";
import { ticketKeys, ticketReader, type TicketKeys } from "./identity/ticket.ts";

/** The environment variables of a process that decides purchases (coordinator/program/settings.ts has their meaning). */
export const DESK_SETTINGS = [
  "NODE_ENV",
  "REDIS_SHARDS",
  "NATS_URL",
  "NATS_USER",
  "NATS_PASSWORD",
  "DOORBUSTER_TICKET_KEYS",
  "DOORBUSTER_BUYER_RATE",
  "DOORBUSTER_BUYER_BURST",
  "DOORBUSTER_ADDRESS_RATE",
  "DOORBUSTER_ADDRESS_BURST",
  "DOORBUSTER_SALE_RATE",
  "DOORBUSTER_SALE_BURST",
  "DOORBUSTER_BUCKETS",
  "DOORBUSTER_QUEUE_LIMIT",
  "DOORBUSTER_DECISION_TIMEOUT_MS",
  "DOORBUSTER_OUTBOX_LIMIT",
] as const;
export type DeskConfig = Config<(typeof DESK_SETTINGS)[number]>;

export interface OpenDesk {
  readonly desk: Desk;
  readonly tickets: TicketKeys;
  /** gives the connection to NATS up; after the desk's `drain`, which gives up those to Redis */
  close(): Promise<void>;
}

export interface OpenDeskOptions {
  readonly config: DeskConfig;
  readonly log: Log;
  /** prom-client's default registry if left out */
  readonly registry?: Registry;
  readonly points?: CrashPoints;
  /**
   * told of each finding of what may not be (the purchase is refused); the host may end its process for it, or count it. By default
   * `doorbuster_gateway_broken_total` counts it, and it is logged
   */
  readonly onBroken?: OnBroken;
}

/** Connects to NATS (waits as long as it takes) and puts a desk on the configured stores. */
export const openDesk = async ({
  config,
  log,
  registry = register,
  points = noCrashPoints,
  onBroken,
}: OpenDeskOptions): Promise<OpenDesk> => {
  const nats = await connectNats(config, "gateway");
  const tickets = ticketKeys(config.DOORBUSTER_TICKET_KEYS);
  const desk = createDesk({ config, nats, tickets: ticketReader(tickets), log, registry, points, onBroken });
  return { desk, tickets, close: () => nats.close() };
};

/**
 * For an app of your own: the same from environment variables, with a log on standard output.
 * @throws ConfigError that lists everything that is wrong with them
 */
export const openDeskFrom = (
  environment: Readonly<Record<string, string | undefined>>,
  options: Pick<OpenDeskOptions, "onBroken"> = {},
): Promise<OpenDesk> => {
  const config = readConfig([...DESK_SETTINGS, "DOORBUSTER_RUN", "DOORBUSTER_LOG_LEVEL"], environment);
  return openDesk({ config, log: createLog("gateway", config), ...options });
};
