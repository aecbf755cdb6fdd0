import type { Database, Row, Sql } from "../db/database.ts";
import { readShard } from "../db/shard-row.ts";
import { GrantState, OrderState } from "../db/states.ts";
import type { RestoredOrder, RestoredSale, RestoreSource } from "./restore-ports.ts";

/** A page is one HSET: 2,000 fields hold a Redis up for about a millisecond. */
const PAGE = 2_000;
/** The snapshot locks nothing; what it waits for is Redis. */
const IDLE_MS = 60_000;

const SALES = `
  SELECT s.id, s.version, s.state, s.limit_per_buyer, s.opens_at_ms, s.closes_at_ms, ss.quota - ss.sold AS free, ss.sold, s.ever_sold_out
  FROM sale_shards ss JOIN sales s ON s.id = ss.sale_id WHERE ss.shard = ? AND NOT s.archived ORDER BY s.id`;

/** The unique index is sorted like this: the first page comes without sorting a million rows. */
const ORDERS = `
  SELECT uid, purchase_key, epoch, seq, idx, units FROM orders
  WHERE sale_id = ? AND shard = ? AND state <> '${OrderState.rejected}' ORDER BY uid`;

const REJECTED = `
  SELECT DISTINCT ON (r.uid, r.purchase_key) r.uid, r.purchase_key, r.epoch, r.seq, r.idx, r.units FROM orders r
  WHERE r.sale_id = ? AND r.shard = ? AND r.state = '${OrderState.rejected}' AND NOT EXISTS (
    SELECT FROM orders o WHERE o.sale_id = r.sale_id AND o.uid = r.uid AND o.purchase_key = r.purchase_key
      AND o.state <> '${OrderState.rejected}')
  ORDER BY r.uid, r.purchase_key, r.epoch, r.seq, r.idx`;

const GRANTS = `SELECT id FROM grants WHERE sale_id = ? AND shard = ? AND state = '${GrantState.done}'`;

const readSale = (row: Row): RestoredSale => ({
  saleId: String(row["id"]),
  version: Number(row["version"]),
  state: String(row["state"]),
  limit: Number(row["limit_per_buyer"]),
  opensAtMs: Number(row["opens_at_ms"]),
  closesAtMs: Number(row["closes_at_ms"]),
  left: Number(row["free"]),
  sold: Number(row["sold"]),
  everSoldOut: row["ever_sold_out"] === true,
});

const readOrder = (row: Row): RestoredOrder => ({
  uid: row["uid"] as string,
  key: row["purchase_key"] as string,
  epoch: Number(row["epoch"]),
  seq: Number(row["seq"]),
  index: Number(row["idx"]),
  units: Number(row["units"]),
});

/** Raw: pages of a query by a cursor, so that a million orders are never in memory together. */
async function* pages<T>(sql: Sql, query: string, bindings: readonly unknown[], read: (row: Row) => T): AsyncGenerator<readonly T[]> {
  await sql(`DECLARE restore_page NO SCROLL CURSOR FOR ${query}`, bindings);
  for (;;) {
    const { rows } = await sql(`FETCH ${PAGE} FROM restore_page`);
    if (rows.length > 0) yield rows.map((row) => read(row));
    if (rows.length < PAGE) break;
  }
  await sql("CLOSE restore_page");
}

export const postgresRestoreSource = (database: Database): RestoreSource => ({
  row: (shard) => readShard(database.em(), shard),
  snapshot: (shard, read) =>
    database.transaction(
      async (sql, em) => {
        await sql(`SET LOCAL idle_in_transaction_session_timeout = ${IDLE_MS}`);
        const row = await readShard(em, shard);
        const sales = (await sql(SALES, [shard])).rows.map((sale) => readSale(sale));
        return read({
          row,
          sales,
          orders: (saleId) => pages(sql, ORDERS, [saleId, shard], readOrder),
          rejected: (saleId) => pages(sql, REJECTED, [saleId, shard], readOrder),
          grants: (saleId) => pages(sql, GRANTS, [saleId, shard], (grant) => grant["id"] as string),
        });
      },
      { snapshot: true },
    ),
});
