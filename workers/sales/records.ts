import type { SaleRecord } from "#protocol/sale";
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
  state: sale.state,
  shards: sale.shards,
  version: sale.version,
});

/** All sales, the newest last. */
export const readSales = async (em: EntityManager): Promise<readonly SaleRecord[]> =>
  (await em.find(Sale, {}, { populate: ["shards"], orderBy: { createdAt: "asc", id: "asc" }, disableIdentityMap: true })).map((sale) =>
    recordOf(sale),
  );

export const readSale = async (em: EntityManager, saleId: string): Promise<SaleRecord | undefined> => {
  const sale = await em.findOne(Sale, { id: saleId }, { populate: ["shards"], disableIdentityMap: true });
  return sale === null ? undefined : recordOf(sale);
};

/** The version of every sale, by its id: asked for every second, so no entities are made of the rows. */
export const readVersions = async (em: EntityManager): Promise<ReadonlyMap<string, number>> => {
  const sales = await em.qb(Sale).select(["id", "version"]).execute();
  return new Map(sales.map((sale) => [sale.id, sale.version]));
};
