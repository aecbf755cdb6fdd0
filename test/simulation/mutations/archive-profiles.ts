import type { Draw } from "../../harness/draw.ts";
import { FaultKind, type Profile, type SalePlan } from "../options.ts";
import { at, directed, on } from "./directed.ts";

const { late, pause, redisFailover, redisWipe, brokerFull } = FaultKind;

/** A sale that an operator closes. */
const closed = (draw: Draw, closedAtMs: number): { readonly sales: readonly SalePlan[] } => ({
  sales: [{ id: "sale0", units: [draw.between(8, 16)], limit: 1, opensAtMs: 0, closedAtMs }],
});

/** Sales of one and of two shards that are closed while units move, and asked about further on. */
export const ARCHIVE: Profile = {
  name: "archive",
  weights: { "redis restart": 2, crash: 3, pause: 2, cut: 2, "postgres restart": 1, "broker restart": 1 },
  ops: ["redis archive", "pg archive", "redis sale", "redis grant", "redis withdraw", "pg sweep", "pg commit", "redis keep"],
  traps: 0.6,
  mostFaults: 3,
  change: (options, draw) => ({
    ...options,
    gateways: 2,
    acts: options.acts * 2,
    added: draw.below(3),
    moves: draw.between(4, 8),
    sweepMs: 400,
    refunds: draw.between(2, 4),
    sales: options.sales.map((sale) => ({
      ...sale,
      units: Array.from({ length: options.shards }, () => draw.between(2, 5)),
      opensAtMs: 0,
      closedAtMs: options.chaosMs * (0.2 + draw.fraction() * 0.4),
    })),
  }),
};

/** A sale is closed while what was bought last does not come to Postgres. */
export const ARCHIVE_UNAPPLIED = directed("archive unapplied", (draw) => {
  const closedAtMs = draw.between(900, 1_600);
  return {
    chaosMs: 6_000,
    ...closed(draw, closedAtMs),
    faults: [at(closedAtMs - draw.between(100, 500), brokerFull, { ms: draw.between(1_500, 3_000) })],
  };
});

/** A Redis that has heard that a sale is closed is replaced by one that has not. */
export const ARCHIVE_LOST = directed("archive lost", (draw) => {
  const closedAtMs = draw.between(1_000, 2_000);
  const fromMs = closedAtMs + draw.between(50, 900);
  return {
    chaosMs: 7_000,
    gateways: 2,
    ...closed(draw, closedAtMs),
    acts: 60,
    faults: [
      on(closedAtMs, "pg archive", 1, "before", late, { ms: draw.between(1_200, 4_500) }),
      at(fromMs, redisFailover, { ms: draw.between(500, 4_000), lost: draw.between(1, 9) }),
    ],
  };
});

/** A definition that comes late, when the sale has left Redis. */
export const ARCHIVE_LATE = directed("archive late", (draw) => {
  const closedAtMs = draw.between(800, 1_400);
  return {
    chaosMs: 8_000,
    ...closed(draw, closedAtMs),
    faults: [on(0, "redis sale", 1, "before", late, { ms: closedAtMs + draw.between(1_500, 5_000) })],
  };
});

/** A Redis that is rebuilt when a sale has left it. */
export const ARCHIVE_REBUILT = directed("archive rebuilt", (draw) => {
  const closedAtMs = draw.between(800, 1_400);
  return {
    chaosMs: 7_000,
    ...closed(draw, closedAtMs),
    faults: [at(closedAtMs + draw.between(1_000, 3_000), redisWipe, { ms: draw.between(5, 500) })],
  };
});

/** A worker stops between its two looks at a Redis that sells on, because it has not heard yet that the sale is closed. */
export const ARCHIVE_BETWEEN = directed("archive between", (draw) => {
  const closedAtMs = draw.between(700, 1_300);
  return {
    chaosMs: 4_000,
    workers: 2,
    sweepMs: 1_000,
    ...closed(draw, closedAtMs),
    faults: [
      on(closedAtMs, "redis state for a worker", 1, "after", pause, { ms: draw.between(500, 1_400) }),
      at(closedAtMs + draw.between(50, 500), brokerFull, { ms: draw.between(2_000, 3_500) }),
    ],
  };
});
