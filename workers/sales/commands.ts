import { RequestError, type AddUnits, type Answer, type ChangeSale } from "#protocol/requests";
import { SaleState, type OpenSale, type SaleRecord } from "#protocol/sale";
import type { Database, Sql } from "../db/database.ts";
import { holdDraining } from "../db/drain-lock.ts";
import { GrantKind } from "../db/states.ts";
import { deal, openShards, receivingShards, usualShardCount, type Share } from "./dealing.ts";
import { isTransferGrantId } from "../apply/transfer-grant.ts";
import { isReturnGrantId } from "../orders/return-grant.ts";
import { readSale } from "./records.ts";

/** The grant that brings a sale's first units; no added grant may be called so. */
export const OPENING_GRANT = "opening";
const MOST_UNITS = 1_000_000_000;
/** Advisory lock: one opening at a time looks for the emptiest shards. */
export const OPENING_LOCK = 0x6462_0002;

const refuse = (code: RequestError, detail: string): Answer<never> => ({ ok: false, code, detail });

const recordOf = async (sql: Sql, saleId: string): Promise<Answer<SaleRecord>> => {
  const record = await readSale(sql, saleId);
  return record === undefined ? refuse(RequestError.notFound, `no sale ${saleId}`) : { ok: true, value: record };
};

const isRepeat = (record: SaleRecord, sale: OpenSale, openingUnits: number): boolean =>
  record.campaign === sale.campaign &&
  record.title === sale.title &&
  openingUnits === sale.units &&
  record.priceMinor === sale.priceMinor &&
  record.currency === sale.currency &&
  record.opensAtMs === sale.opensAtMs &&
  record.closesAtMs === sale.closesAtMs &&
  record.limitPerBuyer === sale.limitPerBuyer &&
  record.payWithinMs === sale.payWithinMs &&
  (sale.shardCount === undefined || record.shards.length === sale.shardCount);

/**
 * Records a sale and its opening stock, dealt to the emptiest shards, in one transaction; the sweep brings both to
 * Redis. The same definition again is a repeat, another one under the same id a conflict.
 */
export const openSale = (database: Database, shards: number, sale: OpenSale): Promise<Answer<SaleRecord>> =>
  database.transaction(async (sql) => {
    await holdDraining(sql);
    await sql("SELECT pg_advisory_xact_lock(?)", [OPENING_LOCK]);
    const existing = await readSale(sql, sale.id);
    if (existing !== undefined)
      return isRepeat(existing, sale, (await grantedBefore(sql, sale.id, OPENING_GRANT))?.units ?? 0)
        ? { ok: true, value: existing }
        : refuse(RequestError.conflict, `sale ${sale.id} exists with another definition`);
    const available = await openShards(sql, shards);
    if (available.length === 0) return refuse(RequestError.conflict, "every shard is draining or halted");
    const count = sale.shardCount ?? usualShardCount(sale.units, available.length);
    if (count > available.length)
      return refuse(RequestError.conflict, `the sale wants ${count} shards, ${available.length} can take one now`);
    const chosen = available.slice(0, count);
    await sql(
      `INSERT INTO sales (id, campaign, title, total_units, price_minor, currency, opens_at_ms, closes_at_ms, limit_per_buyer, pay_within_ms, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '${SaleState.open}')`,
      [
        sale.id,
        sale.campaign,
        sale.title,
        sale.units,
        sale.priceMinor,
        sale.currency,
        sale.opensAtMs,
        sale.closesAtMs,
        sale.limitPerBuyer,
        sale.payWithinMs,
      ],
    );
    await sql("INSERT INTO sale_shards (sale_id, shard) SELECT ?, unnest(?::int[])", [sale.id, chosen]);
    const opening = { saleId: sale.id, grantId: OPENING_GRANT, kind: GrantKind.opening, flagged: false };
    await insertGrants(sql, opening, deal(sale.units, chosen));
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

/** What an id has granted already, over all shards that it was dealt to; undefined if nothing. */
const grantedBefore = async (
  sql: Sql,
  saleId: string,
  grantId: string,
): Promise<{ readonly kind: string; readonly units: number } | undefined> => {
  const { rows } = await sql("SELECT min(kind) AS kind, sum(units) AS units FROM grants WHERE sale_id = ? AND id = ? HAVING count(*) > 0", [
    saleId,
    grantId,
  ]);
  return rows[0] === undefined ? undefined : { kind: String(rows[0]["kind"]), units: Number(rows[0]["units"]) };
};

const insertGrants = async (
  sql: Sql,
  grant: { readonly saleId: string; readonly grantId: string; readonly kind: GrantKind; readonly flagged: boolean },
  shares: readonly Share[],
): Promise<void> => {
  await sql(
    `INSERT INTO grants (sale_id, id, shard, units, kind, flagged)
     SELECT ?, ?, share.shard, share.units, ?, ? FROM unnest(?::int[], ?::bigint[]) AS share (shard, units)`,
    [grant.saleId, grant.grantId, grant.kind, grant.flagged, shares.map((share) => share.shard), shares.map((share) => share.units)],
  );
};

/**
 * Adds stock, dealt to the sale's shards, once per grant id, and withdraws the sold-out flag in the same transaction. If the sale ever was flagged, a
 * gateway may believe the flag for a moment longer, so the grant is marked and the sweep waits with it (P5).
 */
export const addUnits = (database: Database, add: AddUnits): Promise<Answer<SaleRecord>> =>
  database.transaction(async (sql) => {
    await holdDraining(sql);
    const { rows } = await sql("SELECT state, total_units, ever_sold_out FROM sales WHERE id = ? FOR NO KEY UPDATE", [add.saleId]);
    const sale = rows[0];
    if (sale === undefined) return recordOf(sql, add.saleId);
    if (isTransferGrantId(add.grantId) || isReturnGrantId(add.grantId))
      return refuse(RequestError.badRequest, `grant ids like ${add.grantId} name transfers and returns`);
    const before = await grantedBefore(sql, add.saleId, add.grantId);
    if (before !== undefined)
      return before.kind === GrantKind.added && before.units === add.units
        ? recordOf(sql, add.saleId)
        : refuse(RequestError.conflict, `grant ${add.grantId} exists with other units`);
    if (sale["state"] === SaleState.closed) return refuse(RequestError.conflict, `sale ${add.saleId} is closed for good`);
    if (Number(sale["total_units"]) + add.units > MOST_UNITS)
      return refuse(RequestError.badRequest, `a sale has at most ${MOST_UNITS} units`);
    const added = { saleId: add.saleId, grantId: add.grantId, kind: GrantKind.added, flagged: sale["ever_sold_out"] === true };
    await insertGrants(sql, added, deal(add.units, await receivingShards(sql, add.saleId)));
    await sql(
      `UPDATE sales SET total_units = total_units + ?, version = version + 1, returns_seq = returns_seq + 1, sold_out_version = NULL
       WHERE id = ?`,
      [add.units, add.saleId],
    );
    return recordOf(sql, add.saleId);
  });
