import { aboutOrder } from "#program/about-order";
import type { Handlers } from "#program/requests/serve";
import { listedSale } from "#protocol/listed-sale";
import type { Clock } from "#protocol/ports";
import { RequestError, type Reply } from "#protocol/requests/reply";
import type { RestoreProgress, RestoreRequest } from "#protocol/requests/shard-rows";
import { SaleState } from "#protocol/sale";
import type { Database } from "../db/database.ts";
import { readShard } from "../db/shard-row.ts";
import { changeOrder, payOrder, readOrder, type OrdersPorts } from "../orders/commands.ts";
import { RestoreEnd, type Progress } from "../restore/restore.ts";
import type { ArchivePorts } from "../sales/archive.ts";
import { archiveByCommand } from "../sales/archive-command.ts";
import { addUnits, changeSale, openSale } from "../sales/commands.ts";
import { archivedOf, findSales, readArchivedSales, readSales } from "../sales/records.ts";
import { setSoldOut, soldOutFacts, soldOutFlags } from "../sales/sold-out.ts";
import { drainingShards, transferFacts } from "../sales/transfers.ts";
import type { ShardAdmin } from "../shards/admin.ts";

export interface HandlerOptions {
  readonly database: Database;
  /** how many shards are configured */
  readonly shards: number;
  readonly restore: (request: RestoreRequest, progress: Progress) => Promise<RestoreEnd>;
  readonly shardAdmin: ShardAdmin;
  readonly orders: OrdersPorts;
  readonly archive: ArchivePorts;
  readonly clock: Clock;
  /** a sale was opened or changed, or units were given back: bring it to Redis and to the gateways now, not at the next turn */
  readonly changed: () => void;
}

const ok = <T>(value: T): Reply<T> => ({ ok: true, value });

/** What the workers answer (protocol/requests/contract.ts). */
export const requestHandlers = (options: HandlerOptions): Handlers => {
  const { database, shards, orders } = options;
  const flags = soldOutFlags(database.sql);
  const noShard = (shard: number): Reply<never> => ({
    ok: false,
    code: RequestError.notFound,
    detail: `shard ${shard} is not configured`,
  });
  const changing = async <T>(work: Promise<Reply<T>>): Promise<Reply<T>> => {
    const answer = await work;
    if (answer.ok) options.changed();
    return answer;
  };
  return {
    row: async ({ shard }) => (shard < shards ? ok(await readShard(database.em(), shard)) : noShard(shard)),
    rowAndArchived: async ({ shard, sales }) => {
      if (shard >= shards) return noShard(shard);
      const row = await readShard(database.em(), shard);
      return ok({ row, archived: await archivedOf(database.em(), sales) });
    },
    restore: async (request, progress) => {
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
    },
    soldOutFacts: ({ saleId }) => soldOutFacts(database.sql, saleId),
    soldOutSet: ({ saleId, returnsSeq }) => setSoldOut(database.em(), saleId, returnsSeq),
    soldOutFlags: async () => ok(await flags()),
    transferFacts: ({ saleId }) => transferFacts(database.sql, saleId),
    drainingShards: async () => ok(await drainingShards(database.em())),
    openSale: (sale) => changing(openSale(database, shards, sale)),
    changeSale: ({ id, state }) =>
      changing(
        state === SaleState.archived
          ? archiveByCommand({ ...options.archive, clock: options.clock, em: database.em() }, id, options.changed)
          : changeSale(database, { id, state }),
      ),
    addUnits: (add) => changing(addUnits(database, add)),
    sales: async ({ archived }) => {
      const sales = await readSales(database.em());
      return ok((archived ? [...(await readArchivedSales(database.em())), ...sales] : sales).map((sale) => listedSale(sale)));
    },
    findSales: async ({ ids }) => ok((await findSales(database.em(), ids)).map((sale) => listedSale(sale))),
    purchaseOrders: async (asked) => ok(await orders.store.ofPurchases(asked)),
    order: (address) => aboutOrder(address.orderId, () => readOrder(orders, address)),
    payOrder: (pay) => aboutOrder(pay.orderId, () => payOrder(orders, pay)),
    changeOrder: (change) => aboutOrder(change.orderId, () => changing(changeOrder(orders, change))),
    shards: async ({ all }) => ok(await options.shardAdmin.facts(all)),
    changeShard: async (change) => (change.shard < shards ? options.shardAdmin.change(change) : noShard(change.shard)),
  };
};
