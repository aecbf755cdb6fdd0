import type { EntityManager } from "../db/database.ts";
import { Sale, SaleShard, Shard } from "../db/entities.ts";
import { onSale } from "./on-sale.ts";

/**
 * Units for which another shard is worth while, where the operator does not say: one shard decides hundreds of thousands
 * of purchases a second, so a thousand units are gone from it within milliseconds, and spread thinner they would only
 * have to be gathered again.
 */
const UNITS_A_SHARD = 1_000;

export interface Share {
  readonly shard: number;
  /** from 1 */
  readonly units: number;
}

/** Deals units evenly: the shares differ by one at most, the first shards have the larger; no share is empty. */
export const deal = (units: number, shards: readonly number[]): readonly Share[] => {
  const least = Math.floor(units / shards.length);
  const rest = units % shards.length;
  return shards.map((shard, index) => ({ shard, units: index < rest ? least + 1 : least })).filter((share) => share.units > 0);
};

/** On how many of `available` shards so many units are put where the operator does not say. */
export const usualShardCount = (units: number, available: number): number =>
  Math.max(1, Math.min(available, Math.floor(units / UNITS_A_SHARD)));

interface DealtSale {
  readonly totalUnits: number;
  readonly shards: readonly number[];
}

/** `shards` by the units, and then by the number, of the sales that are on them; a sale's units count evenly for each of its shards. */
const emptiestFirst = (shards: readonly number[], sales: readonly DealtSale[]): readonly number[] => {
  const loads = new Map(shards.map((shard) => [shard, { units: 0, sales: 0 }]));
  for (const sale of sales)
    for (const shard of sale.shards) {
      const load = loads.get(shard);
      if (load === undefined) continue;
      load.units += sale.totalUnits / sale.shards.length;
      load.sales += 1;
    }
  return [...loads]
    .toSorted(([a, load], [b, other]) => load.units - other.units || load.sales - other.sales || a - b)
    .map(([shard]) => shard);
};

/**
 * The shards that a new sale may be put on, those with the least units and then sales that are still on sale first. One
 * that is halted or draining gets nothing.
 */
export const openShards = async (em: EntityManager, configured: number): Promise<readonly number[]> => {
  const shards = await em.find(
    Shard,
    { shard: { $lt: configured }, halted: null, draining: false },
    { fields: ["shard"], disableIdentityMap: true },
  );
  const sales = await em.find(Sale, onSale(), { fields: ["totalUnits", "shards"], disableIdentityMap: true });
  return emptiestFirst(
    shards.map(({ shard }) => shard),
    sales,
  );
};

/**
 * The sale's shards that added stock is dealt to, those with the least unsold units first. One that is halted or
 * draining gets nothing, unless all are.
 */
export const receivingShards = async (em: EntityManager, saleId: string): Promise<readonly number[]> => {
  const dealt = await em.find(SaleShard, { sale: saleId }, { populate: ["shard"], disableIdentityMap: true });
  const fit = dealt.filter(({ shard }) => shard.halted === null && !shard.draining);
  return (fit.length > 0 ? fit : dealt)
    .map(({ shard, quota, sold }) => ({ shard: shard.shard, unsold: quota - sold }))
    .toSorted((a, b) => a.unsold - b.unsold || a.shard - b.shard)
    .map(({ shard }) => shard);
};
