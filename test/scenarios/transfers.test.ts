import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SaleRecord } from "#protocol";
import { KnownSale } from "../../gateway/sales/known-sale.ts";
import { StackWorld, until, type BuyAnswer } from "../harness/index.ts";

/**
 * A hot item over many shards: known bug 9 (a dry shard beside a full one) at its worst, and known bug 6 (added stock
 * under load). 8 shards on 3 Redis servers.
 */
const SHARDS = 8;

let world: StackWorld;
beforeAll(async () => {
  world = await StackWorld.start({ shards: SHARDS, redis: 3 });
}, 180_000);
afterAll(() => world?.close());

/** Where the gateway sends a buyer of a sale on all shards, in the order in which the sale was dealt to them. */
const homeOf = (saleId: string, shards: readonly number[]): ((uid: string) => number) => {
  const sale = new KnownSale({ id: saleId, shards } as SaleRecord);
  return (uid) => sale.shardOf(uid);
};

const ALL = Array.from({ length: SHARDS }, (_, shard) => shard);

/** Buyers whose home is one of these shards. */
const buyersOf = (saleId: string, homes: readonly number[], count: number): string[] => {
  const home = homeOf(saleId, ALL);
  const uids: string[] = [];
  for (let n = 0; uids.length < count; n += 1) if (homes.includes(home(`b${n}`))) uids.push(`b${n}`);
  return uids;
};

const buyAll = async (saleId: string, uids: readonly string[], atOnce = 32): Promise<ReadonlyMap<string, BuyAnswer>> => {
  const answers = new Map<string, BuyAnswer>();
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < uids.length; n = next++) answers.set(uids[n] as string, await world.buy(saleId, uids[n] as string));
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return answers;
};

const winners = (answers: ReadonlyMap<string, BuyAnswer>): number =>
  [...answers.values()].filter(({ orderId }) => orderId !== undefined).length;

describe("a sale dealt to eight shards", { timeout: 120_000 }, () => {
  it("sells every unit to buyers who all belong to one of them, and tells nobody sold_out early", async () => {
    const saleId = "one-home";
    const units = 400;
    await world.openSale(saleId, units, { shardCount: SHARDS });
    const uids = buyersOf(saleId, [3], units + 40);
    // as many as there are units: one `sold_out` would be one too early
    expect(winners(await buyAll(saleId, uids.slice(0, units)))).toBe(units);
    const late = await buyAll(saleId, uids.slice(units));
    expect([...late.values()].map(({ code }) => code)).toEqual(Array.from({ length: 40 }, () => "sold_out"));
    expect(await world.auditAtRest(saleId)).toMatchObject({ total: units, free: 0, sold: units, rejected: 0 });
  });

  it("gathers its last units for whoever asks: three left on three shards, wanted on two others", async () => {
    const saleId = "last-units";
    await world.openSale(saleId, 8, { shardCount: SHARDS });
    const home = buyersOf(saleId, [0, 1, 2, 3, 4], 60);
    const here = homeOf(saleId, ALL);
    // One buyer for each of five shards; units are left on three.
    const first = [0, 1, 2, 3, 4].map((shard) => home.find((uid) => here(uid) === shard) as string);
    expect(winners(await buyAll(saleId, first))).toBe(5);
    const others = buyersOf(saleId, [0, 1], 20)
      .filter((uid) => !first.includes(uid))
      .slice(0, 3);
    expect(winners(await buyAll(saleId, others))).toBe(3);
    expect((await world.buy(saleId, "late")).code).toBe("sold_out");
    expect(await world.auditAtRest(saleId)).toMatchObject({ free: 0, sold: 8 });
  });

  it("takes added stock in under load, with the identity kept at every checkpoint (bug 6)", async () => {
    const saleId = "added";
    const units = 300;
    await world.openSale(saleId, units, { shardCount: SHARDS });
    const uids = buyersOf(saleId, [1, 6], units + 500 + 30);
    const selling = buyAll(saleId, uids);
    const checkpoints: number[] = [];
    const over = new AbortController();
    const watching = (async () => {
      while (!over.signal.aborted) {
        const report = await world.audit();
        expect(report.differences).toEqual([]);
        const sale = report.sales.find(({ id }) => id === saleId);
        if (sale !== undefined) checkpoints.push(sale.total);
      }
    })();
    await Promise.all(["a", "b", "a", "b"].map((grantId) => world.admin(`/sales/${saleId}/units`, { grantId, units: 250 })));
    const answers = await selling;
    over.abort();
    await watching;
    expect(checkpoints.at(-1)).toBe(units + 500);
    expect(winners(answers)).toBe(units + 500);
    expect(await world.auditAtRest(saleId)).toMatchObject({ total: units + 500, free: 0, sold: units + 500 });
  });

  it("answers buyers of all homes alike, and needs few transfers for it", async () => {
    const saleId = "even";
    const units = 2_000;
    await world.openSale(saleId, units, { shardCount: SHARDS });
    const before = await transfers();
    const answers = await buyAll(
      saleId,
      Array.from({ length: units + 100 }, (_, n) => `e${n}`),
      64,
    );
    expect(winners(answers)).toBe(units);
    expect(await world.auditAtRest(saleId)).toMatchObject({ free: 0, sold: units });
    expect((await transfers()) - before).toBeLessThan(units / 10);
  });

  it("gives a buyer who wants three of them units that lie on three shards", async () => {
    const saleId = "three-of-three";
    await world.openSale(saleId, 3, { shardCount: SHARDS, limitPerBuyer: 3 });
    const url = world.urlOf(saleId, "hungry");
    let answer: BuyAnswer = { status: 0, code: "" };
    await until(
      async () => {
        answer = await world.once("POST", url, { "content-type": "application/json" }, JSON.stringify({ units: 3 }));
        return answer.orderId !== undefined;
      },
      "three units in one order",
      30_000,
    );
    expect(await world.auditAtRest(saleId)).toMatchObject({ free: 0, sold: 3 });
  });
});

/** Times that units were moved so far. */
const transfers = async (): Promise<number> => {
  const { metrics } = await world.stack.info();
  const text = await (await fetch(`${metrics.coordinator}/metrics`)).text();
  return [...text.matchAll(/^doorbuster_transfers_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
};
