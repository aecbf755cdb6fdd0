import { Status } from "#lua/core/codes";
import type { SoldOutPorts } from "./sold-out-ports.ts";

/** How a look at a sale ended. */
export const SoldOutLook = {
  /** some shard has a unit, or may have one for all that is known, or has a stock move that is not applied */
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

/** A shard that has no unit: its epoch, and `<epoch>/<stock moves>`. */
interface Dry {
  readonly epoch: number;
  readonly moves: string;
}
/** It could not be asked, is not open, or has not heard of the sale. */
interface NotSeen {
  readonly error?: unknown;
}
type Seen = "stocked" | Dry | NotSeen;

const isDry = (seen: Seen | undefined): seen is Dry => typeof seen === "object" && "moves" in seen;

const look = async (ports: Pick<SoldOutPorts, "stock">, shard: number, saleId: string): Promise<Seen> => {
  try {
    const stock = await ports.stock(shard, saleId);
    if (stock.status !== Status.ok) return {};
    if (stock.left !== 0 || !stock.movesApplied) return "stocked";
    return { epoch: stock.epoch, moves: `${stock.epoch}/${stock.moves}` };
  } catch (error) {
    return { error };
  }
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
 *
 * A shard that cannot be asked, because it was drained and stopped or is away, need not be: where Postgres has stored an
 * order for every unit of its quota, and no grant is on its way, it has none. Whatever else a unit of its quota may be
 * (free, reserved and not stored, withdrawn and not applied) would make the quota greater than what is sold.
 */
export const decideSoldOut = async (ports: SoldOutPorts, { id, shards }: SaleShards): Promise<SoldOutLook> => {
  const before = await Promise.all(shards.map((shard) => look(ports, shard, id)));
  if (before.includes("stocked")) return SoldOutLook.hasStock;
  const facts = await ports.facts(id);
  if (facts.soldOut) return SoldOutLook.soldOut;
  if (facts.sentGrants > 0) return SoldOutLook.moving;
  const epochs = new Map(facts.epochs);
  for (const [i, shard] of shards.entries()) {
    const seen = before[i] as Dry | NotSeen;
    if (isDry(seen)) {
      if (epochs.get(shard) !== seen.epoch) return SoldOutLook.moving;
    } else if (!facts.full.includes(shard)) {
      if (seen.error !== undefined) throw seen.error;
      return SoldOutLook.hasStock;
    }
  }
  const dry = shards.flatMap((shard, i) => (isDry(before[i]) ? [{ shard, moves: before[i].moves }] : []));
  const after = await Promise.all(dry.map(({ shard }) => look(ports, shard, id)));
  if (after.some((seen, i) => !isDry(seen) || seen.moves !== dry[i]?.moves)) return SoldOutLook.moving;
  return (await ports.setSoldOut(id, facts.returnsSeq)) ? SoldOutLook.soldOut : SoldOutLook.moving;
};
