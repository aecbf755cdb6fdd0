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

/** What a look at all shards of a sale saw. */
interface DryShards {
  /** of each shard, in the order of the sale's shards */
  readonly epochs: readonly number[];
  /** `<epoch>/<stock moves>` of each shard */
  readonly moves: string;
}

/**
 * Looks at every shard of a sale.
 * @returns undefined unless all are open, have no unit left and no stock move on its way
 */
const collect = async (ports: Pick<SoldOutPorts, "stock">, sale: SaleShards): Promise<DryShards | undefined> => {
  const stocks = await Promise.all(sale.shards.map((shard) => ports.stock(shard, sale.id)));
  const epochs: number[] = [];
  const moves: string[] = [];
  for (const stock of stocks) {
    if (stock.status !== Status.ok || stock.left !== 0 || !stock.movesApplied) return undefined;
    epochs.push(stock.epoch);
    moves.push(`${stock.epoch}/${stock.moves}`);
  }
  return { epochs, moves: moves.join(" ") };
};

/**
 * Decides whether a sale is sold out, which is a fact about the whole sale (DESIGN 7.4): all shards, then Postgres, then all
 * shards again.
 *
 * Why two equal looks prove it although units move: take the moment of Postgres's answer, and a unit that is not reserved
 * then. It is free on a shard: but there nothing was left at the first look, and a shard gets units only by a stock move,
 * which the second look would show. Or it was withdrawn and that entry is not applied: then the withdrawal came before the
 * donor's first look (the moves are equal), which would have seen the move not applied. Or it is a grant that is not done,
 * whether its receiver has taken it in or not: then Postgres counts it. Nothing else exists (DESIGN 7.3). `returnsSeq` read in between withdraws the flag
 * if a unit is freed before it is set. Postgres's epochs, read in the same moment, have to be those of the looks: a
 * primary that was replaced may be open for some seconds more, and does not know of the units that its successor has.
 */
export const decideSoldOut = async (ports: SoldOutPorts, sale: SaleShards): Promise<SoldOutLook> => {
  const before = await collect(ports, sale);
  if (before === undefined) return SoldOutLook.hasStock;
  const facts = await ports.facts(sale.id);
  if (facts.soldOut) return SoldOutLook.soldOut;
  if (facts.sentGrants > 0) return SoldOutLook.moving;
  const epochs = new Map(facts.epochs);
  if (sale.shards.some((shard, i) => epochs.get(shard) !== before.epochs[i])) return SoldOutLook.moving;
  const after = await collect(ports, sale);
  if (after?.moves !== before.moves) return SoldOutLook.moving;
  return (await ports.setSoldOut(sale.id, facts.returnsSeq)) ? SoldOutLook.soldOut : SoldOutLook.moving;
};
