import { SaleState, type SaleRecord } from "#protocol/sale";
import type { EntityManager } from "../db/database.ts";
import { Sale, type SaleEntity } from "../db/entities.ts";

/** @param sale with its shards */
export const recordOf = (sale: SaleEntity): SaleRecord => ({
  id: sale.id,
  campaign: sale.campaign,
  title: sale.title,
  totalUnits: sale.totalUnits,
  priceMinor: sale.priceMinor,
  currency: sale.currency,
  opensAtMs: sale.opensAtMs,
  closesAtMs: sale.closesAtMs,
  limitPerBuyer: sale.limitPerBuyer,
  payWithinMs: sale.payWithinMs,
  state: sale.archived ? SaleState.archived : sale.state,
  shards: sale.shards,
  version: sale.version,
});

/** Archived sales of one list: with some 400 bytes each they stay below NATS's megabyte. */
const ARCHIVED_LISTED = 1_000;

const READ = { populate: ["shards"], disableIdentityMap: true } as const;

/** All sales but the archived, the newest last. */
export const readSales = async (em: EntityManager): Promise<readonly SaleRecord[]> =>
  (await em.find(Sale, { archived: false }, { ...READ, orderBy: { createdAt: "asc", id: "asc" } })).map((sale) => recordOf(sale));

/** The archived sales that were opened last, the newest last. */
export const readArchivedSales = async (em: EntityManager): Promise<readonly SaleRecord[]> =>
  (await em.find(Sale, { archived: true }, { ...READ, orderBy: { createdAt: "desc", id: "desc" }, limit: ARCHIVED_LISTED }))
    .map((sale) => recordOf(sale))
    .toReversed();

/** Those of these sales that there are. */
export const findSales = async (em: EntityManager, ids: readonly string[]): Promise<readonly SaleRecord[]> =>
  ids.length === 0 ? [] : (await em.find(Sale, { id: { $in: [...ids] } }, READ)).map((sale) => recordOf(sale));

/** Those of these sales that are archived. */
export const archivedOf = async (em: EntityManager, ids: readonly string[]): Promise<string[]> => {
  if (ids.length === 0) return [];
  const sales = await em.find(Sale, { id: { $in: [...ids] }, archived: true }, { fields: ["id"], disableIdentityMap: true });
  return sales.map(({ id }) => id);
};

export const readSale = async (em: EntityManager, saleId: string): Promise<SaleRecord | undefined> => {
  const sale = await em.findOne(Sale, { id: saleId }, READ);
  return sale === null ? undefined : recordOf(sale);
};

/** The version of every sale but the archived, by its id: asked for every second, so no entities are made of the rows. */
export const readVersions = async (em: EntityManager): Promise<ReadonlyMap<string, number>> => {
  const sales = await em.qb(Sale).select(["id", "version"]).where({ archived: false }).execute();
  return new Map(sales.map((sale) => [sale.id, sale.version]));
};
