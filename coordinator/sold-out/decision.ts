import { Status } from "../../lua/codes.ts";
import type { SoldOutPorts } from "./ports.ts";

/** How a look at a sale ended. */
export const SoldOutLook = {
  /** some shard has a unit, is not open, or has a stock move that is not applied */
  hasStock: "has_stock",
  /** units are on their way, came back, or moved between the two looks */
  moving: "moving",
  /** now flagged sold out, or was already */
  soldOut: "sold_out",
} as const;
export type SoldOutLook = (typeof SoldOutLook)[keyof typeof SoldOutLook];

export interface SaleShards {
  readonly id: string;
  readonly shards: readonly number[];
}

/**
 * Looks at every shard of a sale.
 * @returns `<epoch>/<stock moves>` of each shard if all are open, have no unit left and no stock move on its way; else undefined
 */
export const collect = async (ports: Pick<SoldOutPorts, "stock">, sale: SaleShards): Promise<string | undefined> => {
  const stocks = await Promise.all(sale.shards.map((shard) => ports.stock(shard, sale.id)));
  const seen: string[] = [];
  for (const stock of stocks) {
    if (stock.status !== Status.ok || stock.left !== 0 || !stock.movesApplied) return undefined;
    seen.push(`${stock.epoch}/${stock.moves}`);
  }
  return seen.join(" ");
};

/**
 * Decides whether a sale is sold out, which is a fact about the whole sale (DESIGN 7.4): all shards, then Postgres, then all
 * shards again; between two equal looks no unit can have been anywhere else. `returnsSeq` read in between withdraws the flag
 * if a unit is freed before it is set.
 */
export const decideSoldOut = async (ports: SoldOutPorts, sale: SaleShards): Promise<SoldOutLook> => {
  const before = await collect(ports, sale);
  if (before === undefined) return SoldOutLook.hasStock;
  const facts = await ports.facts(sale.id);
  if (facts.soldOut) return SoldOutLook.soldOut;
  if (facts.sentGrants > 0) return SoldOutLook.moving;
  const after = await collect(ports, sale);
  if (after !== before) return SoldOutLook.moving;
  return (await ports.setSoldOut(sale.id, facts.returnsSeq)) ? SoldOutLook.soldOut : SoldOutLook.moving;
};
