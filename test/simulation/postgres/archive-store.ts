import { ArchiveEnd, type ArchiveStore, type LookedShard } from "../../../workers/sales/archive-ports.ts";
import { op, type Wire } from "../kernel/wire.ts";
import type { Postgres } from "./postgres.ts";
import type { SaleRow } from "./tables.ts";
import { ConnectionLost, type Transaction } from "./transaction.ts";

const DUE = op("pg sales to archive");
const END = op("pg end of a sale");
const ARCHIVE = op("pg archive");

/** Row locks, one after the other. */
const lockAll = (transaction: Transaction, rows: readonly object[], done: () => void): void => {
  const [row, ...rest] = rows;
  if (row === undefined) done();
  else transaction.lock(row, () => lockAll(transaction, rest, done));
};

const endOf = ({ rules, orders, grants, shardRow }: Reader, sale: SaleRow, looked: readonly LookedShard[]): ArchiveEnd => {
  const { id } = sale.record;
  const isApplied = looked.every(({ shard, epoch, seq }) => {
    const row = shardRow(shard);
    if (row.wall || row.halted !== null || (rules.archiveEpochs && row.epoch !== epoch)) return false;
    return !rules.archiveApplied || row.epoch !== epoch || row.applied >= seq;
  });
  if (!isApplied) return ArchiveEnd.notApplied;
  if (sale.archived) return ArchiveEnd.archived;
  if (rules.archivePending && orders.some(({ saleId, state }) => saleId === id && state === "pending_payment"))
    return ArchiveEnd.ordersPending;
  const isMoving = [...grants.values()].some(({ saleId, state }) => saleId === id && state === "sent");
  return rules.archiveGrants && isMoving ? ArchiveEnd.unitsMoving : ArchiveEnd.archived;
};

type Reader = Pick<Postgres, "rules" | "orders" | "grants" | "shardRow">;

/** The statements of workers/sales/archive-stores.ts. */
export const archiveStoreOf = (postgres: Postgres, wire: Wire): ArchiveStore => ({
  due: (afterMs) =>
    wire.call(DUE, () =>
      [...postgres.sales.values()].flatMap(({ record, archived, closedAtMs }) =>
        !archived && closedAtMs !== null && closedAtMs + afterMs <= postgres.nowMs ? [record.id] : [],
      ),
    ),
  end: (saleId) =>
    wire.call(END, () => {
      const sale = postgres.sales.get(saleId);
      if (sale === undefined) return undefined;
      const { record, archived: isArchived, closedAtMs } = sale;
      return { saleId, isArchived, isOnSale: closedAtMs === null, shards: record.shards };
    }),
  archive: (saleId, looked) =>
    wire.hold<ArchiveEnd>(ARCHIVE, (exchange) => {
      const sale = postgres.sales.get(saleId);
      if (sale === undefined) return exchange.answer(ArchiveEnd.noSale);
      const transaction = postgres.begin(wire.life);
      transaction.whenLost(() => exchange.fail(new ConnectionLost("terminating connection")));
      const rows = looked.map(({ shard }) => postgres.shardRow(shard));
      lockAll(transaction, [...rows, sale], () => {
        const reader: Reader = {
          rules: postgres.rules,
          orders: postgres.orders,
          grants: postgres.grants,
          shardRow: (shard) => postgres.shardRow(shard),
        };
        const end = endOf(reader, sale, looked);
        if (end === ArchiveEnd.archived && !sale.archived)
          transaction.atCommit(() => {
            sale.archived = true;
            sale.record.version += 1;
            sale.returnsSeq += 1;
            sale.soldOutVersion = null;
            for (const row of postgres.saleShards) if (row.saleId === saleId) row.droppedEpoch = 0;
          });
        transaction.commit();
        exchange.answer(end);
      });
    }),
});
