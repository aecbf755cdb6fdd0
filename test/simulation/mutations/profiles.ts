import type { Profile } from "../options.ts";

/** A new primary while the old one goes on, and coordinators that see different servers. */
export const NEW_PRIMARY: Profile = {
  name: "new primary",
  weights: { "redis failover": 6, cut: 3, pause: 2, crash: 1 },
  traps: 0.2,
  mostFaults: 5,
  change: (options) => ({
    ...options,
    shards: 1,
    coordinators: 2,
    gateways: 2,
    openMs: 1_500,
    acts: options.acts * 3,
    sales: options.sales.map((sale) => ({ ...sale, units: [Math.max(2, sale.units[0] ?? 0)] })),
    faults: options.faults.map((fault) => ({ ...fault, shard: 0, ...(fault.kind === "redis failover" ? { ms: 3_000 + fault.ms } : {}) })),
  }),
};

/** Servers that restart in the middle of an attempt, losing a little. */
export const RESTARTS: Profile = {
  name: "restarts",
  weights: { "redis restart": 8, crash: 2, pause: 1, "redis failover": 1 },
  ops: ["redis close", "redis keep", "redis open", "redis swap", "redis stage", "rows row", "redis reserve", "redis settle", "pg commit"],
  traps: 0.7,
  mostFaults: 7,
};

/** Coordinators and workers that stop for a while in the middle of an attempt, and go on when others have taken over. */
export const PAUSES: Profile = {
  name: "pauses",
  weights: { pause: 6, "redis restart": 4, crash: 2, cut: 1 },
  ops: ["redis close", "redis keep", "redis open", "redis swap", "redis stage", "rows row", "log append marker", "pg snapshot", "pg row"],
  traps: 0.7,
  mostFaults: 7,
  change: (options) => ({ ...options, coordinators: 2, workers: 2, leaseMs: 1_000, openMs: 1_500 }),
};

/** Units that are added while shards begin epochs, and sales that sell out. */
export const STOCK_MOVES: Profile = {
  name: "stock moves",
  weights: { "redis restart": 4, pause: 3, crash: 3, cut: 1, "redis failover": 1, "postgres restart": 1 },
  ops: ["redis grant", "redis sale", "sold-out facts", "sold-out set", "pg sweep", "redis stock", "pg take grants", "pg commit"],
  traps: 0.6,
  mostFaults: 6,
  change: (options, draw) => ({
    ...options,
    soldOut: true,
    added: draw.between(2, 5),
    moves: draw.between(0, 6),
    mover: true,
    buyers: options.buyers + 4,
    acts: options.acts * 2,
    sweepMs: 400,
  }),
};

/** Servers that have reached their `maxmemory`, now and then in the middle of something else. */
export const FULL: Profile = {
  name: "full",
  weights: { "redis full": 8, "redis restart": 2, "redis failover": 1, crash: 2, pause: 1 },
  ops: ["redis reserve", "redis grant", "redis close", "redis keep", "redis swap", "redis stage", "redis settle", "pg commit"],
  traps: 0.6,
  mostFaults: 7,
};

/** Brokers that lose, repeat and fill up. */
export const BROKER: Profile = {
  name: "broker",
  weights: { "broker restart": 8, "broker full": 2, "broker repeat": 1, crash: 2, pause: 1, "redis restart": 1 },
  traps: 0.4,
  mostFaults: 6,
};
