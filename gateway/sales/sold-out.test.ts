import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemRandom } from "#program/system";
import { SOLD_OUT_LEASE_MS } from "#protocol/sale";
import { reserve } from "#lua/stock/reserve";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import { SaleBook } from "./book.ts";
import type { KnownSale } from "./known-sale.ts";
import { soldOutStore } from "../stores/sold-out-store.ts";
import { SoldOut, type SoldOutStore } from "./sold-out.ts";
import { Winners } from "./winners.ts";

let world: GatewayWorld;
let nowMs: number;
let sales = 0;

const clock = { monotonicMs: () => nowMs, sleep: () => Promise.resolve() };

interface Corner {
  readonly sale: KnownSale;
  readonly soldOut: SoldOut;
  /** flags the sale in the workers' answer */
  readonly flag: (version: number) => void;
  readonly buy: (uid: string, shard?: number) => Promise<void>;
  readonly lost: (...uids: string[]) => boolean[];
}

/** A sale with `units` a shard that are all sold to w0, w1, ..., and the short cut over the real stores. */
const corner = async (
  options: {
    units?: number;
    limit?: number;
    shards?: number[];
    change?: (store: SoldOutStore) => Partial<SoldOutStore>;
    slots?: number;
  } = {},
): Promise<Corner> => {
  const { units = 3, limit = 1, shards = [0], change, slots } = options;
  const record = await world.openSale({ id: `sale-${++sales}`, limitPerBuyer: limit, shards }, units);
  const book = new SaleBook();
  book.put(record);
  const sale = book.get(record.id) as KnownSale;
  const real = soldOutStore(world.connection, (shard) => world.client(shard));
  const soldOut = new SoldOut(book, { ...real, ...change?.(real) }, clock, systemRandom, slots);
  const buy = async (uid: string, shard = 0): Promise<void> => {
    const packed = limit === 1 ? uid : `${uid}:key:1`;
    const result = await reserve(world.client(shard), { shard, saleId: record.id, outboxLimit: 1e6, purchases: [packed] });
    if (result.status !== "ok" || result.position === undefined) throw new Error(`${uid} did not win`);
  };
  let winner = 0;
  for (const shard of shards) for (let unit = 0; unit < units; unit++) await buy(`w${winner++}`, shard);
  return {
    sale,
    soldOut,
    flag: (version) => {
      world.flags = [{ saleId: record.id, version }];
    },
    buy,
    lost: (...uids) => uids.map((uid) => sale.isLost(nowMs, uid)),
  };
};

beforeAll(async () => {
  world = await startGatewayWorld(2);
});
beforeEach(() => {
  nowMs = 1_000;
  world.flags = [];
});
afterAll(() => world.stop());

describe("the sold-out short cut", () => {
  it("refuses strangers only when there is a flag and its winners are known, and never a winner", async () => {
    const { sale, soldOut, flag, lost } = await corner();
    await soldOut.poll();
    await soldOut.load();
    expect(lost("w0", "x")).toEqual([false, false]);
    expect(sale.view(nowMs).soldOut).toBe(false);
    flag(1);
    await soldOut.poll();
    expect(lost("w0", "x")).toEqual([false, false]);
    expect(sale.view(nowMs).soldOut).toBe(true);
    await soldOut.load();
    expect(lost("w0", "w1", "w2", "x", "w", "w00")).toEqual([false, false, false, true, true, true]);
  });

  it("believes a flag for its lease from the moment of asking, through silence, and not a moment longer", async () => {
    const late = (store: SoldOutStore): Partial<SoldOutStore> => ({
      flags: async () => {
        const flags = await store.flags();
        nowMs += 300;
        return flags;
      },
    });
    const { soldOut, flag, lost } = await corner({ change: late });
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(nowMs).toBe(1_300);
    world.flags = undefined;
    await expect(soldOut.poll()).rejects.toThrow();
    nowMs = 1_000 + SOLD_OUT_LEASE_MS - 1;
    expect(lost("x")).toEqual([true]);
    nowMs = 1_000 + SOLD_OUT_LEASE_MS;
    expect(lost("x")).toEqual([false]);
    flag(1);
    await soldOut.poll();
    expect(lost("x")).toEqual([true]);
  });

  it("a withdrawn flag ends it at once; the next version's winners are read anew, with those who won in between", async () => {
    const { sale, soldOut, flag, buy, lost } = await corner();
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(lost("late")).toEqual([true]);
    world.flags = [];
    await soldOut.poll();
    expect(lost("late", "x")).toEqual([false, false]);
    await world.addUnits(sale.record.id, "back", 1);
    await buy("late");
    flag(2);
    await soldOut.poll();
    expect(lost("late", "x")).toEqual([false, false]);
    await soldOut.load();
    expect(lost("late", "x")).toEqual([false, true]);
  });

  it("a withdrawal that nobody saw: the new version makes the old winners useless", async () => {
    const { sale, soldOut, flag, buy, lost } = await corner();
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    await world.addUnits(sale.record.id, "back", 1);
    await buy("late");
    flag(2);
    await soldOut.poll();
    expect(lost("late", "x")).toEqual([false, false]);
    await soldOut.load();
    expect(lost("late", "x")).toEqual([false, true]);
  });

  it("a version that came while the winners were read does not get the older one's", async () => {
    let during = (): Promise<void> => Promise.resolve();
    const { soldOut, flag, lost } = await corner({
      change: (store) => ({
        buyers: async (...page) => {
          const buyers = await store.buyers(...page);
          await during();
          return buyers;
        },
      }),
    });
    flag(1);
    await soldOut.poll();
    during = async () => {
      flag(2);
      await soldOut.poll();
    };
    await soldOut.load();
    expect(lost("w0", "x")).toEqual([false, false]);
  });

  it("knows a buyer of any key where the limit is above one", async () => {
    const { soldOut, flag, lost } = await corner({ limit: 3 });
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(lost("w0", "w1", "w2", "x", "key")).toEqual([false, false, false, true, true]);
  });

  it("collects the winners of all shards of a sale", async () => {
    const { soldOut, flag, lost } = await corner({ shards: [0, 1] });
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(lost("w0", "w2", "w3", "w5", "x")).toEqual([false, false, false, false, true]);
  });

  it("reads several pages of a large sale", async () => {
    const { sale, soldOut, flag, lost } = await corner({ units: 0 });
    const uids = Array.from({ length: 5_000 }, (_, i) => `many-${i}`);
    await world.addUnits(sale.record.id, "many", uids.length);
    for (let i = 0; i < uids.length; i += 500)
      await reserve(world.client(0), { shard: 0, saleId: sale.record.id, outboxLimit: 1e6, purchases: uids.slice(i, i + 500) });
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(lost(...uids).includes(true)).toBe(false);
    expect(lost("many-5000", "many-")).toEqual([true, true]);
  });

  it("does not believe a shard that has a unit, is not open, lacks a buyer, or began an epoch meanwhile", async () => {
    let during: () => Promise<unknown> = () => Promise.resolve();
    let hidden = "";
    const { sale, soldOut, flag, buy, lost } = await corner({
      change: (store) => ({
        buyers: async (...page) => {
          const { cursor, fields } = await store.buyers(...page);
          await during();
          return { cursor, fields: fields.filter((field) => field !== hidden) };
        },
      }),
    });
    const { id } = sale.record;
    const tried = async (): Promise<boolean[]> => {
      flag(1);
      await soldOut.poll();
      await soldOut.load();
      return lost("w0", "x");
    };
    during = () => world.addUnits(id, "one", 1);
    expect(await tried()).toEqual([false, false]);
    during = () => Promise.resolve();
    expect(await tried()).toEqual([false, false]);
    await buy("late");

    await world.client(0).del("{s0}:open");
    expect(await tried()).toEqual([false, false]);
    await world.openShard(0);

    during = () => world.openShard(0);
    expect(await tried()).toEqual([false, false]);

    // As a page of a server that lost a holder would be.
    const field = `{s0}:buyers:${id}`;
    const reservation = (await world.client(0).hget(field, "w0")) as string;
    await world.client(0).hdel(field, "w0");
    during = () => world.client(0).hset(field, "w0", reservation);
    expect(await tried()).toEqual([false, false]);

    during = () => Promise.resolve();
    hidden = "w0";
    expect(await tried()).toEqual([false, false]);
    hidden = "";
    expect(await tried()).toEqual([false, true]);
  });

  it("asks Redis rather than exceed its memory", async () => {
    const { sale, soldOut, flag, lost } = await corner({ units: 20, slots: 16 });
    flag(1);
    await soldOut.poll();
    await soldOut.load();
    expect(lost("w0", "x")).toEqual([false, false]);
    expect(sale.winners).toBeUndefined();
  });
});

describe("the winners' set", () => {
  it("never denies a buyer who was added, whatever the ids", () => {
    const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
    fc.assert(
      fc.property(fc.array(id, { maxLength: 300 }), fc.nat(), fc.nat(), (uids, hi, lo) => {
        const winners = new Winners(uids.length, hi, lo);
        for (const uid of uids) winners.add(uid);
        expect(uids.every((uid) => winners.has(uid))).toBe(true);
        expect(winners.size).toBe(new Set(uids).size);
      }),
    );
  });

  it("takes next to no stranger for a winner", () => {
    const winners = new Winners(100_000, 7, 8);
    for (let i = 0; i < 100_000; i++) winners.add(`winner-${i}`);
    let taken = 0;
    for (let i = 0; i < 200_000; i++) if (winners.has(`stranger-${i}`)) taken += 1;
    expect(taken).toBeLessThan(20);
  });

  it("refuses to be filled beyond its size, in which a search would never end", () => {
    const winners = new Winners(3, 1, 2);
    expect(() => {
      for (let i = 0; i < 100; i++) winners.add(`u${i}`);
    }).toThrow(RangeError);
    expect(winners.has("nobody")).toBe(false);
  });
});
