import { z } from "zod";
import { ID_PATTERN } from "./ids.ts";
import { storableLine } from "./text.ts";
import { enumOr } from "./unknown.ts";
import { wallTime } from "./wall-time.ts";

export const SaleState = {
  /** sells within its window */
  open: "open",
  /** answers `paused` */
  paused: "paused",
  /** is over for good */
  closed: "closed",
  /** closed, and no Redis is asked about it any more: Postgres answers (DESIGN 7.6) */
  archived: "archived",
} as const;
export type SaleState = (typeof SaleState)[keyof typeof SaleState];

const STATES: ReadonlySet<unknown> = new Set(Object.values(SaleState));

/** A state of a later version is one that does not sell (README.md). */
export const saleStateOf = (text: string): SaleState => (STATES.has(text) ? (text as SaleState) : SaleState.paused);

/** What a Redis is told: it has no archived sale, and one that is on its way out is closed. */
export const stateInRedis = (state: SaleState): Exclude<SaleState, typeof SaleState.archived> =>
  state === SaleState.archived ? SaleState.closed : state;

/** 15 minutes, as long as most payment services keep a payment page open. */
const PAY_WITHIN_MS = 900_000;
const MOST_PAY_WITHIN_MS = 31 * 86_400_000;

const id = z.string().regex(ID_PATTERN);

/**
 * A sale as every program knows it; the value of the KV bucket `sales` under the sale's id. Its bounds are those that a
 * reader needs, not those of `openSaleSchema`: a later version may allow more, and no sale is dropped for it.
 */
export const saleRecordSchema = z.object({
  id,
  campaign: z.string(),
  title: z.string(),
  totalUnits: z.int().min(0).describe("units on sale, added stock included"),
  priceMinor: z.int().min(0).describe("in the currency's smallest unit"),
  currency: z.string().describe("ISO 4217"),
  opensAtMs: z.int().min(0).describe("wall clock, ms since 1970, UTC"),
  closesAtMs: z.int().min(0),
  limitPerBuyer: z.int().min(1).describe("most units one buyer may hold"),
  payWithinMs: z.int().min(0).default(0).describe("an order that is not paid so long after it was stored expires; 0: orders do not expire"),
  /** a state of a later version is read as paused: the sale is there and does not sell */
  state: enumOr(SaleState, SaleState.paused),
  shards: z
    .array(z.int().min(0))
    .min(1)
    .describe("shards that its units are dealt to; never changes, because buyers belong to one of them by this list"),
  version: z.int().min(1).describe("raised with every change of the definition"),
});
export type SaleRecord = Readonly<z.infer<typeof saleRecordSchema>>;

/** What opening a sale takes; the worker fills in the rest. */
export const openSaleSchema = z
  .strictObject({
    id,
    campaign: id.default("default"),
    title: storableLine().min(1).max(200),
    units: z.int().min(1).max(1_000_000_000),
    priceMinor: z.int().min(0).default(0),
    currency: z
      .string()
      .regex(/^[A-Z]{3}$/)
      .default("CNY"),
    opensAtMs: wallTime(),
    closesAtMs: wallTime(),
    limitPerBuyer: z.int().min(1).max(1_000).default(1),
    payWithinMs: z
      .int()
      .min(0)
      .max(MOST_PAY_WITHIN_MS)
      .default(PAY_WITHIN_MS)
      .describe("an order that is not paid so long after it was stored expires, and its units are sold again; 0: orders do not expire"),
    shardCount: z
      .int()
      .min(1)
      .max(1_024)
      .optional()
      .describe("shards to deal the units to; left out: one for every 1,000 units, at least one, at most all that can take a sale"),
  })
  .refine((sale) => sale.closesAtMs > sale.opensAtMs, { message: "closesAtMs must be after opensAtMs", path: ["closesAtMs"] });
export type OpenSale = Readonly<z.infer<typeof openSaleSchema>>;

/** A sale that is sold out, as a gateway may believe it for a moment (DESIGN 7.4). */
export interface SoldOutFlag {
  readonly saleId: string;
  /** `returns_seq` at which the fact was established: a later flag of the same sale has a higher one */
  readonly version: number;
}

/**
 * How long a gateway may believe a sold-out flag, counted from the moment at which it asked. A unit that comes back
 * is delivered to a flagged sale only after longer than this since the flag was withdrawn, so that no gateway can call
 * the buyer of that unit `sold_out` (P5).
 */
export const SOLD_OUT_LEASE_MS = 500;

/** When a flag was withdrawn at least so long ago, no gateway believes it; 100 ms for the coarseness of clocks. */
export const SOLD_OUT_BELIEVED_MS = SOLD_OUT_LEASE_MS + 100;
