import { LockMode } from "@mikro-orm/core";
import { RequestError, type AddUnits, type Reply } from "#protocol/requests";
import type { OpenSale, SaleRecord } from "#protocol/sale";
import type { Database, EntityManager } from "../db/database.ts";
import { holdDraining } from "../db/drain-lock.ts";
import { Grant, Sale, SaleShard, type GrantEntity, type SaleEntity } from "../db/entities.ts";
import { GrantKind, StoredSaleState } from "../db/states.ts";
import { deal, openShards, receivingShards, usualShardCount, type Share } from "./dealing.ts";
import { isTransferGrantId } from "../apply/transfer-grant.ts";
import { isReturnGrantId } from "../orders/return-grant.ts";
import { readSale, recordOf } from "./records.ts";

/** The grant that brings a sale's first units; no added grant may be called so. */
const OPENING_GRANT = "opening";
const MOST_UNITS = 1_000_000_000;
/** Advisory lock: one opening at a time looks for the emptiest shards. */
export const OPENING_LOCK = 0x6462_0002;

const refuse = (code: RequestError, detail: string): Reply<never> => ({ ok: false, code, detail });

const noSale = (saleId: string): Reply<never> => refuse(RequestError.notFound, `no sale ${saleId}`);

/**
 * A sale, locked until the end of the transaction. FOR UPDATE holds up nobody whom FOR NO KEY UPDATE would let through: only
 * its own opening refers to a sale's row by a foreign key.
 */
const lockSale = (em: EntityManager, saleId: string): Promise<SaleEntity | null> =>
  em.findOne(Sale, { id: saleId }, { populate: ["shards"], lockMode: LockMode.PESSIMISTIC_WRITE });

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

const insertSale = async (em: EntityManager, sale: OpenSale, chosen: readonly number[]): Promise<SaleRecord> => {
  const { units: totalUnits, id, campaign, title, priceMinor, currency, opensAtMs, closesAtMs, limitPerBuyer, payWithinMs } = sale;
  const definition = { id, campaign, title, priceMinor, currency, opensAtMs, closesAtMs, limitPerBuyer, payWithinMs };
  const created = em.create(Sale, { ...definition, totalUnits, state: StoredSaleState.open });
  await em.flush();
  await em.insertMany(
    SaleShard,
    chosen.map((shard) => ({ sale: id, shard })),
  );
  await insertGrants(em, { saleId: id, id: OPENING_GRANT, kind: GrantKind.opening, flagged: false }, deal(totalUnits, chosen));
  return { ...recordOf(created), shards: chosen.toSorted((a, b) => a - b) };
};

/**
 * Records a sale and its opening stock, dealt to the emptiest shards, in one transaction; the sweep brings both to
 * Redis. The same definition again is a repeat, another one under the same id a conflict.
 */
export const openSale = (database: Database, shards: number, sale: OpenSale): Promise<Reply<SaleRecord>> =>
  database.transaction(async (sql, em) => {
    await holdDraining(sql);
    await sql("SELECT pg_advisory_xact_lock(?)", [OPENING_LOCK]);
    const existing = await readSale(em, sale.id);
    if (existing !== undefined)
      return isRepeat(existing, sale, (await grantedBefore(em, sale.id, OPENING_GRANT))?.units ?? 0)
        ? { ok: true, value: existing }
        : refuse(RequestError.conflict, `sale ${sale.id} exists with another definition`);
    const available = await openShards(em, shards);
    if (available.length === 0) return refuse(RequestError.conflict, "every shard is draining or halted");
    const count = sale.shardCount ?? usualShardCount(sale.units, available.length);
    if (count > available.length)
      return refuse(RequestError.conflict, `the sale wants ${count} shards, ${available.length} can take one now`);
    return { ok: true, value: await insertSale(em, sale, available.slice(0, count)) };
  });

/** @returns why a sale that is over cannot be what is asked for */
const isOver = (sale: SaleEntity): Reply<never> =>
  refuse(RequestError.conflict, `sale ${sale.id} is ${sale.archived ? "archived" : "closed for good"}`);

/** Pauses, resumes or closes. `closed` is final; the state that is there already is a repeat, and an archived sale is closed. */
export const changeSale = (
  database: Database,
  { id, state }: { readonly id: string; readonly state: StoredSaleState },
): Promise<Reply<SaleRecord>> =>
  database.transaction(async (sql, em) => {
    const sale = await lockSale(em, id);
    if (sale === null) return noSale(id);
    if (sale.state === StoredSaleState.closed && state !== StoredSaleState.closed) return isOver(sale);
    if (sale.state !== state) {
      sale.state = state;
      sale.version += 1;
      await em.flush();
      if (state === StoredSaleState.closed) await sql("UPDATE sales SET closed_at = now() WHERE id = ?", [id]);
    }
    return { ok: true, value: recordOf(sale) };
  });

/** What an id has granted already, over all shards that it was dealt to; undefined if nothing. */
const grantedBefore = async (
  em: EntityManager,
  saleId: string,
  id: string,
): Promise<{ readonly kind: GrantKind; readonly units: number } | undefined> => {
  const grants = await em.find(Grant, { saleId, id }, { disableIdentityMap: true });
  return grants[0] === undefined ? undefined : { kind: grants[0].kind, units: grants.reduce((sum, { units }) => sum + units, 0) };
};

const insertGrants = async (
  em: EntityManager,
  grant: { readonly saleId: string; readonly id: string; readonly kind: GrantKind; readonly flagged: boolean },
  shares: readonly Share[],
): Promise<void> => {
  await em.insertMany<GrantEntity>(
    Grant,
    shares.map((share) => ({ ...grant, ...share })),
  );
};

/**
 * Adds stock, dealt to the sale's shards, once per grant id, and withdraws the sold-out flag in the same transaction. If the sale ever was flagged, a
 * gateway may believe the flag for a moment longer, so the grant is marked and the sweep waits with it (P5).
 */
export const addUnits = (database: Database, add: AddUnits): Promise<Reply<SaleRecord>> =>
  database.transaction(async (sql, em) => {
    await holdDraining(sql);
    const sale = await lockSale(em, add.saleId);
    if (sale === null) return noSale(add.saleId);
    if (isTransferGrantId(add.grantId) || isReturnGrantId(add.grantId))
      return refuse(RequestError.badRequest, `grant ids like ${add.grantId} name transfers and returns`);
    const before = await grantedBefore(em, add.saleId, add.grantId);
    if (before !== undefined)
      return before.kind === GrantKind.added && before.units === add.units
        ? { ok: true, value: recordOf(sale) }
        : refuse(RequestError.conflict, `grant ${add.grantId} exists with other units`);
    if (sale.state === StoredSaleState.closed) return isOver(sale);
    if (sale.totalUnits + add.units > MOST_UNITS) return refuse(RequestError.badRequest, `a sale has at most ${MOST_UNITS} units`);
    const added = { saleId: add.saleId, id: add.grantId, kind: GrantKind.added, flagged: sale.everSoldOut };
    await insertGrants(em, added, deal(add.units, await receivingShards(em, add.saleId)));
    sale.totalUnits += add.units;
    sale.version += 1;
    sale.returnsSeq += 1;
    sale.soldOutVersion = null;
    return { ok: true, value: recordOf(sale) };
  });
