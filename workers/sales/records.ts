import type { SaleRecord, SaleState } from "#protocol/sale";
import type { Row, Sql } from "../db/database.ts";

const RECORDS = `
  SELECT s.id, s.campaign, s.title, s.total_units, s.price_minor, s.currency, s.opens_at_ms, s.closes_at_ms,
    s.limit_per_buyer, s.pay_within_ms, s.state, s.version, (SELECT array_agg(ss.shard ORDER BY ss.shard) FROM sale_shards ss WHERE ss.sale_id = s.id) AS shards
  FROM sales s`;

const readRecord = (row: Row): SaleRecord => ({
  id: String(row["id"]),
  campaign: String(row["campaign"]),
  title: String(row["title"]),
  totalUnits: Number(row["total_units"]),
  priceMinor: Number(row["price_minor"]),
  currency: String(row["currency"]),
  opensAtMs: Number(row["opens_at_ms"]),
  closesAtMs: Number(row["closes_at_ms"]),
  limitPerBuyer: Number(row["limit_per_buyer"]),
  payWithinMs: Number(row["pay_within_ms"]),
  state: row["state"] as SaleState,
  shards: row["shards"] as number[],
  version: Number(row["version"]),
});

/** All sales, the newest last. */
export const readSales = async (sql: Sql): Promise<readonly SaleRecord[]> =>
  (await sql(`${RECORDS} ORDER BY s.created_at, s.id`)).rows.map((row) => readRecord(row));

export const readSale = async (sql: Sql, saleId: string): Promise<SaleRecord | undefined> => {
  const { rows } = await sql(`${RECORDS} WHERE s.id = ?`, [saleId]);
  return rows[0] === undefined ? undefined : readRecord(rows[0]);
};
