import type { SoldOutPorts } from "../../../coordinator/sales/sold-out/sold-out-ports.ts";
import type { Stock } from "#lua/stock/stock";
import { DECIDED_LATE } from "./directed.ts";
import type { Mutation } from "./mutation.ts";
import { STOCK_MOVES } from "./profiles.ts";

const altersStock = (change: (stock: Extract<Stock, { status: "ok" }>) => Partial<Extract<Stock, { status: "ok" }>>) => ({
  soldOutPorts: (ports: Parameters<NonNullable<ReturnType<Mutation["twins"]>["soldOutPorts"]>>[0]) => ({
    ...ports,
    stock: async (shard: number, saleId: string): Promise<Stock> => {
      const stock = await ports.stock(shard, saleId);
      return stock.status === "ok" ? { ...stock, ...change(stock) } : stock;
    },
  }),
});

/** Takes what the first look saw for what a look after Postgres's answer would see. */
const looksOnce = (ports: SoldOutPorts): SoldOutPorts => {
  const first = new Map<string, Map<number, Stock>>();
  const again = new Map<string, Map<number, Stock>>();
  return {
    ...ports,
    stock: async (shard, saleId) => {
      const seen = again.get(saleId)?.get(shard);
      again.get(saleId)?.delete(shard);
      if (seen !== undefined) return seen;
      const stock = await ports.stock(shard, saleId);
      const shards = first.get(saleId) ?? new Map<number, Stock>();
      first.set(saleId, shards.set(shard, stock));
      return stock;
    },
    facts: async (saleId) => {
      const facts = await ports.facts(saleId);
      const seen = first.get(saleId) ?? new Map<number, Stock>();
      const areSame = facts.epochs.every(([shard, epoch]) => {
        const stock = seen.get(shard);
        return stock?.status === "ok" && stock.epoch === epoch;
      });
      // otherwise there is no second look
      if (areSame && !facts.soldOut && facts.sentGrants === 0) again.set(saleId, new Map(seen));
      return facts;
    },
  };
};

/** Rules of the sold-out decision (DESIGN 7.4). */
export const SOLD_OUT_MUTATIONS: readonly Mutation[] = [
  {
    name: "sold out: sent grants",
    rule: "no unit may be on its way",
    twins: () => ({
      soldOutPorts: (ports) => ({ ...ports, facts: async (saleId) => ({ ...(await ports.facts(saleId)), sentGrants: 0 }) }),
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: every shard",
    rule: "all shards of the sale are looked at",
    twins: () => ({
      soldOutPorts: (ports) => {
        const seen = new Map<string, Stock>();
        return {
          ...ports,
          stock: async (shard, saleId) => {
            const first = seen.get(saleId);
            const stock = await ports.stock(shard, saleId);
            if (stock.status === "ok" && stock.left === 0) seen.set(saleId, stock);
            return first ?? stock;
          },
        };
      },
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: full shards",
    rule: "a shard that cannot be asked has an order for every unit of its quota",
    twins: () => ({
      soldOutPorts: (ports) => ({
        ...ports,
        facts: async (saleId) => {
          const facts = await ports.facts(saleId);
          return { ...facts, full: facts.epochs.map(([shard]) => shard) };
        },
      }),
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: second look",
    rule: "the shards are looked at once more after Postgres",
    twins: () => ({ soldOutPorts: looksOnce }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: Postgres's epochs",
    rule: "the shards that are looked at are in the epochs that Postgres names",
    twins: () => ({
      soldOutPorts: (ports) => {
        const epochs = new Map<number, number>();
        return {
          ...ports,
          stock: async (shard, saleId) => {
            const stock = await ports.stock(shard, saleId);
            if (stock.status === "ok") epochs.set(shard, stock.epoch);
            return stock;
          },
          facts: async (saleId) => ({ ...(await ports.facts(saleId)), epochs: [...epochs] }),
        };
      },
    }),
    profile: DECIDED_LATE,
  },
  {
    name: "sold out: moves applied",
    rule: "a shard whose last stock move is not in Postgres is not done",
    twins: () => altersStock(() => ({ movesApplied: true })),
    profile: STOCK_MOVES,
  },
];
