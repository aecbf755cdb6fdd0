import { pino } from "pino";
import { Registry } from "prom-client";
import type { BuyService } from "../../gateway/buy/service.ts";
import type { Outcome } from "../../gateway/buy/outcome.ts";
import { signTicket, ticketReader, type TicketKeys } from "../../gateway/identity/ticket.ts";
import { buyServiceOn, type StoreOptions } from "../../gateway/open.ts";
import type { GatewayWorld } from "./gateway-world.ts";

/** No rate is limited and nothing is short, unless a test says so. */
const CONFIG: Omit<StoreOptions["config"], "REDIS_SHARDS"> = {
  DOORBUSTER_BUYER_RATE: 0,
  DOORBUSTER_BUYER_BURST: 1,
  DOORBUSTER_ADDRESS_RATE: 0,
  DOORBUSTER_ADDRESS_BURST: 1,
  DOORBUSTER_READ_RATE: 0,
  DOORBUSTER_READ_BURST: 1,
  DOORBUSTER_READ_CEILING: 0,
  DOORBUSTER_SALE_RATE: 0,
  DOORBUSTER_SALE_BURST: 1,
  DOORBUSTER_BUCKETS: 1_024,
  DOORBUSTER_QUEUE_LIMIT: 20_000,
  DOORBUSTER_DECISION_TIMEOUT_MS: 2_000,
  DOORBUSTER_OUTBOX_LIMIT: 100_000,
};

export interface GatewayServiceOptions {
  readonly config?: Partial<StoreOptions["config"]>;
  /** called with each line of the log, parsed */
  readonly onLine?: (line: Readonly<Record<string, unknown>>) => void;
}

/** The buy service that ships, in this process, on the world's servers; `drain` ends it. */
export const gatewayService = (
  world: GatewayWorld,
  keys: TicketKeys,
  { config = {}, onLine }: GatewayServiceOptions = {},
): BuyService & { readonly registry: Registry } => {
  const registry = new Registry();
  const write = (text: string): void => onLine?.(JSON.parse(text) as Record<string, unknown>);
  const service = buyServiceOn({
    config: { ...CONFIG, REDIS_SHARDS: world.redis.map(({ url }) => url), ...config },
    nats: world.connection,
    tickets: ticketReader(keys),
    log: onLine === undefined ? pino({ level: "silent" }) : pino({}, { write }),
    registry,
  });
  return { ...service, registry };
};

/** One purchase at the service. */
export const buyAt = (
  service: BuyService,
  keys: TicketKeys,
  { saleId, uid, units = 1, key = "" }: { readonly saleId: string; readonly uid: string; readonly units?: number; readonly key?: string },
): Promise<Outcome> =>
  new Promise((resolve) => {
    service.buy({ ticket: signTicket(keys, { saleId, uid, expiresAtMs: Date.now() + 600_000 }), address: "", units, key }, resolve);
  });
