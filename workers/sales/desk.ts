import { RequestError, type AddUnits, type Answer, type ChangeSale } from "../../coordinator/protocol/requests.ts";
import { SaleState, type OpenSale, type SaleRecord } from "../../coordinator/protocol/sale.ts";
import type { Database, Row, Sql } from "../db/database.ts";
import { GrantKind, GrantState } from "../db/states.ts";
import { isTransferGrantId } from "../apply/transfer-grant.ts";
import { readSale } from "./records.ts";

/** The grant that brings a sale's first units; no added grant may be called so. */
export const OPENING_GRANT = "opening";
const MOST_UNITS = 1_000_000_000;
/** Advisory lock: one opening at a time looks for the emptiest shard. */
export const OPENING_LOCK = 0x6462_0002;

const refuse = (code: RequestError, detail: string): Answer<never> => ({ ok: false, code, detail });

const recordOf = async (sql: Sql, saleId: string): Promise<Answer<SaleRecord>> => {
  const record = await readSale(sql, saleId);
  return record === undefined ? refuse(RequestError.notFound, `no sale ${saleId}`) : { ok: true, value: record };
};

/** The shard with the fewest units, then sales, that are still on sale. */
const emptiestShard = async (sql: Sql, shards: number): Promise<number> => {
  const { rows } = await sql(
    `SELECT sh.shard FROM shards sh
     LEFT JOIN sale_shards ss ON ss.shard = sh.shard
     LEFT JOIN sales s ON s.id = ss.sale_id AND s.state <> '${SaleState.closed}' AND s.closes_at_ms > extract(epoch FROM now()) * 1000
     WHERE sh.shard < ?
     GROUP BY sh.shard ORDER BY sh.halted IS NOT NULL, coalesce(sum(s.total_units), 0), count(s.id), sh.shard LIMIT 1`,
    [shards],
  );
  if (rows[0] === undefined) throw new Error("no shard has a row");
  return Number(rows[0]["shard"]);
};

const isRepeat = (record: SaleRecord, sale: OpenSale, openingUnits: number): boolean =>
  record.campaign === sale.campaign &&
  record.title === sale.title &&
  openingUnits === sale.units &&
  record.priceMinor === sale.priceMinor &&
  record.currency === sale.currency &&
  record.opensAtMs === sale.opensAtMs &&
  record.closesAtMs === sale.closesAtMs &&
  record.limitPerBuyer === sale.limitPerBuyer;

const openingUnits = async (sql: Sql, saleId: string): Promise<number> =>
  Number((await sql("SELECT units FROM grants WHERE sale_id = ? AND id = ?", [saleId, OPENING_GRANT])).rows[0]?.["units"]);

/**
 * Records a sale and its opening stock in one transaction; the sweep brings both to Redis. The same definition again is
 * a repeat, another one under the same id a conflict.
 */
export const openSale = (database: Database, shards: number, sale: OpenSale): Promise<Answer<SaleRecord>> =>
  database.transaction(async (sql) => {
    await sql("SELECT pg_advisory_xact_lock(?)", [OPENING_LOCK]);
    const existing = await readSale(sql, sale.id);
    if (existing !== undefined)
      return isRepeat(existing, sale, await openingUnits(sql, sale.id))
        ? { ok: true, value: existing }
        : refuse(RequestError.conflict, `sale ${sale.id} exists with another definition`);
    const shard = await emptiestShard(sql, shards);
    await sql(
      `INSERT INTO sales (id, campaign, title, total_units, price_minor, currency, opens_at_ms, closes_at_ms, limit_per_buyer, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '${SaleState.open}')`,
      [sale.id, sale.campaign, sale.title, sale.units, sale.priceMinor, sale.currency, sale.opensAtMs, sale.closesAtMs, sale.limitPerBuyer],
    );
    await sql("INSERT INTO sale_shards (sale_id, shard) VALUES (?, ?)", [sale.id, shard]);
    await sql(`INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, ?, ?, ?, '${GrantKind.opening}')`, [
      sale.id,
      OPENING_GRANT,
      shard,
      sale.units,
    ]);
    return recordOf(sql, sale.id);
  });

/** Pauses, resumes or closes. `closed` is final; the state that is there already is a repeat. */
export const changeSale = (database: Database, change: ChangeSale): Promise<Answer<SaleRecord>> =>
  database.transaction(async (sql) => {
    const { rows } = await sql("SELECT state FROM sales WHERE id = ? FOR NO KEY UPDATE", [change.id]);
    const state = rows[0]?.["state"];
    if (state === SaleState.closed && change.state !== SaleState.closed)
      return refuse(RequestError.conflict, `sale ${change.id} is closed for good`);
    if (state !== undefined && state !== change.state)
      await sql("UPDATE sales SET state = ?, version = version + 1 WHERE id = ?", [change.state, change.id]);
    return recordOf(sql, change.id);
  });

/** The grant's shard: until units can move, the sale's only one. */
const shardOfSale = async (sql: Sql, saleId: string): Promise<number> =>
  Number((await sql("SELECT min(shard) AS shard FROM sale_shards WHERE sale_id = ?", [saleId])).rows[0]?.["shard"]);

const isSameGrant = (grant: Row, add: AddUnits): boolean => grant["kind"] === GrantKind.added && Number(grant["units"]) === add.units;

/**
 * Adds stock, once per grant id, and withdraws the sold-out flag in the same transaction. If the sale ever was flagged, a
 * gateway may believe the flag for a moment longer, so the grant is marked and the sweep waits with it (P5).
 */
export const addUnits = (database: Database, add: AddUnits): Promise<Answer<SaleRecord>> =>
  database.transaction(async (sql) => {
    const { rows } = await sql("SELECT state, total_units, ever_sold_out FROM sales WHERE id = ? FOR NO KEY UPDATE", [add.saleId]);
    const sale = rows[0];
    if (sale === undefined) return recordOf(sql, add.saleId);
    if (isTransferGrantId(add.grantId)) return refuse(RequestError.badRequest, `grant ids like ${add.grantId} name transfers`);
    const before = (await sql("SELECT kind, units FROM grants WHERE sale_id = ? AND id = ?", [add.saleId, add.grantId])).rows[0];
    if (before !== undefined)
      return isSameGrant(before, add)
        ? recordOf(sql, add.saleId)
        : refuse(RequestError.conflict, `grant ${add.grantId} exists with other units`);
    if (sale["state"] === SaleState.closed) return refuse(RequestError.conflict, `sale ${add.saleId} is closed for good`);
    if (Number(sale["total_units"]) + add.units > MOST_UNITS)
      return refuse(RequestError.badRequest, `a sale has at most ${MOST_UNITS} units`);
    await sql(
      `INSERT INTO grants (sale_id, id, shard, units, kind, state, flagged) VALUES (?, ?, ?, ?, '${GrantKind.added}', '${GrantState.sent}', ?)`,
      [add.saleId, add.grantId, await shardOfSale(sql, add.saleId), add.units, sale["ever_sold_out"]],
    );
    await sql(
      `UPDATE sales SET total_units = total_units + ?, version = version + 1, returns_seq = returns_seq + 1, sold_out_version = NULL
       WHERE id = ?`,
      [add.units, add.saleId],
    );
    return recordOf(sql, add.saleId);
  });
