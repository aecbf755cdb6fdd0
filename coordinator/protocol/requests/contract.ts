import { z } from "zod";
import { listedSalesSchema } from "../listed-sale.ts";
import { changeOrderSchema, orderAddressSchema, orderRecordSchema, paidOrderSchema, payOrderSchema } from "../order.ts";
import { openSaleSchema, saleRecordSchema } from "../sale.ts";
import { allShardFactsSchema, changeShardSchema, shardFactsSchema } from "../shard-facts.ts";
import { purchaseOrdersRequestSchema, purchaseOrdersSchema } from "./purchase-orders.ts";
import { addUnitsSchema, changeSaleSchema, findSalesSchema, listSalesSchema } from "./sale-commands.ts";
import {
  drainingShardsSchema,
  saleFactsRequestSchema,
  soldOutFactsSchema,
  soldOutFlagsSchema,
  soldOutSetRequestSchema,
  transferFactsSchema,
} from "./sale-facts.ts";
import {
  archivedRequestSchema,
  restoreProgressSchema,
  restoreRequestSchema,
  rowAndArchivedSchema,
  rowRequestSchema,
  shardRowSchema,
} from "./shard-rows.ts";

/** A request that one of the workers answers (queue group WORKERS); all can be repeated. */
export interface Request<Body extends z.ZodType = z.ZodType, Value extends z.ZodType = z.ZodType> {
  readonly subject: string;
  /** A request without a body is `{}`. What the operators' API refuses, an unknown field, is ignored here (README.md). */
  readonly body: Body;
  /** of a reply that is `ok` */
  readonly value: Value;
  /** how long an answer is waited for; where answers stream, how long for the next */
  readonly withinMs: number;
  /** while nobody answers, another worker is asked beside the first: not for commands, where the second would hear of the first's work */
  readonly isAskedAgain: boolean;
  /** answered several times: the last answer is the one that says so, or an error */
  readonly isStreamed: boolean;
}

/** A worker answers in a few ms; the row is wanted every second, so a slow answer is worth no more than a late one. */
const FACTS_WITHIN_MS = 2_000;
/** An operator waits for it. */
const ADMIN_WITHIN_MS = 5_000;

const facts = <Body extends z.ZodType, Value extends z.ZodType>(subject: string, body: Body, value: Value): Request<Body, Value> => ({
  subject,
  body,
  value,
  withinMs: FACTS_WITHIN_MS,
  isAskedAgain: true,
  isStreamed: false,
});
const list = <Body extends z.ZodType, Value extends z.ZodType>(subject: string, body: Body, value: Value): Request<Body, Value> => ({
  ...facts(subject, body, value),
  withinMs: ADMIN_WITHIN_MS,
});
const command = <Body extends z.ZodType, Value extends z.ZodType>(subject: string, body: Body, value: Value): Request<Body, Value> => ({
  ...list(subject, body, value),
  isAskedAgain: false,
});

const nothing = z.object({});

/** Every request: who sends another body, or another reply, breaks the type. */
export const requests = {
  /** the shard's row, read from the primary at the time of asking */
  row: facts("doorbuster.row", rowRequestSchema, shardRowSchema),
  /** a request of its own: whoever did not know the question would be taken to say that none is */
  rowAndArchived: facts("doorbuster.row-and-archived", archivedRequestSchema, rowAndArchivedSchema),
  /** writes the shard's keys anew from Postgres; one reply a chunk, because a large sale takes long */
  restore: { ...command("doorbuster.restore", restoreRequestSchema, restoreProgressSchema), isStreamed: true },
  soldOutFacts: facts("doorbuster.sold-out.facts", saleFactsRequestSchema, soldOutFactsSchema),
  /** `overtaken` if returns_seq moved on */
  soldOutSet: facts("doorbuster.sold-out.set", soldOutSetRequestSchema, nothing),
  /** read after the request came in */
  soldOutFlags: facts("doorbuster.sold-out.flags", nothing, soldOutFlagsSchema),
  transferFacts: facts("doorbuster.transfer.facts", saleFactsRequestSchema, transferFactsSchema),
  drainingShards: facts("doorbuster.transfer.draining", nothing, drainingShardsSchema),
  /** the same id with the same definition again is a repeat, another is `conflict` */
  openSale: command("doorbuster.sale.open", openSaleSchema.strip(), saleRecordSchema),
  changeSale: command("doorbuster.sale.change", changeSaleSchema.strip(), saleRecordSchema),
  addUnits: command("doorbuster.sale.add-units", addUnitsSchema.strip(), saleRecordSchema),
  /** the orders of a sale's purchases, read from the primary after the request came in */
  purchaseOrders: facts("doorbuster.purchases.orders", purchaseOrdersRequestSchema, purchaseOrdersSchema),
  /** the newest last; of archived ones no more than a reply can hold */
  sales: list("doorbuster.sale.list", listSalesSchema, listedSalesSchema),
  /** those there are, archived ones too, read after the request came in */
  findSales: facts("doorbuster.sale.find", findSalesSchema, listedSalesSchema),
  order: list("doorbuster.order.read", orderAddressSchema.strip(), orderRecordSchema),
  /** money came in; said again as often as you like. `not_found` also while a win is not in Postgres yet */
  payOrder: command("doorbuster.order.pay", payOrderSchema.strip(), paidOrderSchema),
  /** `conflict` if the order's state does not allow it */
  changeOrder: command("doorbuster.order.change", changeOrderSchema.strip(), orderRecordSchema),
  /** by shard, with `oldestMs` and `memory` only for who wants all: 1ec634c takes no field that it does not know. Asks every Redis, so it is not asked twice while one is away */
  shards: command("doorbuster.shards", z.object({ all: z.boolean().default(false) }), allShardFactsSchema),
  /** the shard's facts afterwards */
  changeShard: command("doorbuster.shard.change", changeShardSchema.strip(), shardFactsSchema),
} as const satisfies Readonly<Record<string, Request>>;

export type Requests = typeof requests;
export type RequestName = keyof Requests;
