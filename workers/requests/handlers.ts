import { z } from "zod";
import {
  addUnitsSchema,
  changeSaleSchema,
  RequestError,
  restoreRequestSchema,
  rowRequestSchema,
  soldOutFactsRequestSchema,
  soldOutSetRequestSchema,
  transferFactsRequestSchema,
  type Answer,
  type RestoreProgress,
  type RestoreRequest,
} from "#protocol/requests";
import { changeOrderSchema, orderAddressSchema, payOrderSchema } from "#protocol/order";
import { openSaleSchema } from "#protocol/sale";
import { changeShardSchema } from "#protocol/shard-facts";
import { Request } from "#protocol/subjects";
import type { Database } from "../db/database.ts";
import { readShard } from "../db/shard-row.ts";
import { changeOrder, payOrder, readOrder, type OrdersPorts } from "../orders/commands.ts";
import { RestoreEnd, type Progress } from "../restore/restore.ts";
import { addUnits, changeSale, openSale } from "../sales/commands.ts";
import { readSales } from "../sales/records.ts";
import { setSoldOut, soldOutFacts, soldOutFlags } from "../sales/sold-out.ts";
import { drainingShards, transferFacts } from "../sales/transfers.ts";
import type { ShardAdmin } from "../shards/admin.ts";
import { handler, type Handler } from "./server.ts";

export interface HandlerOptions {
  readonly database: Database;
  /** how many shards are configured */
  readonly shards: number;
  readonly restore: (request: RestoreRequest, progress: Progress) => Promise<RestoreEnd>;
  readonly shardAdmin: ShardAdmin;
  readonly orders: OrdersPorts;
  /** a sale was opened or changed, or units were given back: bring it to Redis and to the gateways now, not at the next turn */
  readonly changed: () => void;
}

const nothing = z.strictObject({});

const ok = <T>(value: T): Answer<T> => ({ ok: true, value });

/** What the workers answer, by subject; bodies and answers in protocol/requests.ts. */
export const requestHandlers = (options: HandlerOptions): Readonly<Record<Request, Handler>> => {
  const { database, shards, orders } = options;
  const flags = soldOutFlags(database.sql);
  const noShard = (shard: number): Answer<never> => ({
    ok: false,
    code: RequestError.notFound,
    detail: `shard ${shard} is not configured`,
  });
  const changing = async <T>(work: Promise<Answer<T>>): Promise<Answer<T>> => {
    const answer = await work;
    if (answer.ok) options.changed();
    return answer;
  };
  return {
    [Request.row]: handler(rowRequestSchema, async ({ shard }) =>
      shard < shards ? ok(await readShard(database.em(), shard)) : noShard(shard),
    ),
    [Request.restore]: handler(restoreRequestSchema, async (request, progress) => {
      if (request.shard >= shards) return noShard(request.shard);
      let staged: RestoreProgress = { orders: 0, ofUnits: 0, done: false };
      const end = await options.restore(request, (orders, ofUnits) => {
        staged = { orders, ofUnits, done: false };
        progress(staged);
      });
      if (end === RestoreEnd.done) return ok({ ...staged, done: true } satisfies RestoreProgress);
      return {
        ok: false,
        code: end === RestoreEnd.overtaken ? RequestError.overtaken : RequestError.conflict,
        detail: `the restore of shard ${request.shard} ended ${end}`,
      };
    }),
    [Request.soldOutFacts]: handler(soldOutFactsRequestSchema, ({ saleId }) => soldOutFacts(database.sql, saleId)),
    [Request.soldOutSet]: handler(soldOutSetRequestSchema, ({ saleId, returnsSeq }) => setSoldOut(database.em(), saleId, returnsSeq)),
    [Request.soldOutFlags]: handler(nothing, async () => ok(await flags())),
    [Request.transferFacts]: handler(transferFactsRequestSchema, ({ saleId }) => transferFacts(database.sql, saleId)),
    [Request.drainingShards]: handler(nothing, async () => ok(await drainingShards(database.em()))),
    [Request.openSale]: handler(openSaleSchema, (sale) => changing(openSale(database, shards, sale))),
    [Request.changeSale]: handler(changeSaleSchema, (change) => changing(changeSale(database, change))),
    [Request.addUnits]: handler(addUnitsSchema, (add) => changing(addUnits(database, add))),
    [Request.sales]: handler(nothing, async () => ok(await readSales(database.em()))),
    [Request.order]: handler(orderAddressSchema, (address) => readOrder(orders, address)),
    [Request.payOrder]: handler(payOrderSchema, (pay) => payOrder(orders, pay)),
    [Request.changeOrder]: handler(changeOrderSchema, (change) => changing(changeOrder(orders, change))),
    [Request.shards]: handler(nothing, async () => ok(await options.shardAdmin.facts())),
    [Request.changeShard]: handler(changeShardSchema, async (change) =>
      change.shard < shards ? options.shardAdmin.change(change) : noShard(change.shard),
    ),
  };
};
