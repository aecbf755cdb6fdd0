import { setTimeout as delay } from "node:timers/promises";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AGAIN, ASK_AGAIN_MS, StackWorld, until, type BuyAnswer } from "../harness/index.ts";

/**
 * Known bug 8: the scope of guards. For any stock, units, limit and number of shards: sold <= total, each purchase whole
 * or not at all, and no buyer has more than the limit, whatever is asked at once and asked again.
 */
const SHARDS = 16;

let world: StackWorld;
beforeAll(async () => {
  world = await StackWorld.start({ shards: SHARDS, redis: 3 });
}, 180_000);
afterAll(() => world?.close());

const many = <T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => make(n)));

interface Wish {
  readonly buyer: number;
  readonly key: number;
  readonly units: number;
}

const sales = fc.record({
  units: fc.integer({ min: 1, max: 24 }),
  limit: fc.integer({ min: 1, max: 4 }),
  shardCount: fc.integer({ min: 1, max: SHARDS }),
});
const wishes: fc.Arbitrary<Wish[]> = fc.array(
  fc.record({ buyer: fc.integer({ min: 0, max: 7 }), key: fc.integer({ min: 0, max: 2 }), units: fc.integer({ min: 1, max: 4 }) }),
  { minLength: 1, maxLength: 32 },
);

let number = 0;

interface Served {
  readonly uid: string;
  readonly purchase: string;
  /** how many units were asked for, one request after the other */
  readonly asked: readonly number[];
  readonly answer: BuyAnswer;
}

const MODEST_AFTER = 10;

/** Asks until there is an answer; who is told again and again to come later asks for fewer: more may not be there any more. */
const serve = async (id: string, limit: number, { buyer, key, units }: Wish): Promise<Served> => {
  const url = world.urlOf(id, `b${buyer}`);
  const headers = { "content-type": "application/json", ...(limit === 1 ? {} : { "idempotency-key": `k${key}` }) };
  const asked: number[] = [];
  for (let later = 0; ; later += 1) {
    const wanted = Math.max(1, units - Math.floor(later / MODEST_AFTER));
    asked.push(wanted);
    const answer = await world.once("POST", url, headers, JSON.stringify({ units: wanted }));
    if (!AGAIN.has(answer.code)) return { uid: `b${buyer}`, purchase: limit === 1 ? "" : `k${key}`, asked, answer };
    await delay(ASK_AGAIN_MS);
  }
};

describe("8: scope of guards", { timeout: 240_000 }, () => {
  it("any stock, units, limit and number of shards up to sixteen", async () => {
    await fc.assert(
      fc.asyncProperty(sales, wishes, async ({ units, limit, shardCount }, all) => {
        const id = `any-${number++}`;
        await world.openSale(id, units, { limitPerBuyer: limit, shardCount });
        const answers = await Promise.all(all.map((wish) => serve(id, limit, wish)));
        const orders = new Map<string, { readonly uid: string; readonly units: number }>();
        const firstOf = new Map<string, string>();
        for (const { uid, purchase, answer } of answers) {
          if (answer.orderId === undefined) continue;
          orders.set(answer.orderId, { uid, units: answer.units ?? 0 });
          // One purchase has one order, however often it is asked for.
          expect(firstOf.get(`${uid} ${purchase}`) ?? answer.orderId).toBe(answer.orderId);
          firstOf.set(`${uid} ${purchase}`, answer.orderId);
          // All or none: what somebody asked for under this key, never a part of it.
          expect(answers.filter((one) => one.uid === uid && one.purchase === purchase).flatMap((one) => one.asked)).toContain(answer.units);
        }
        const held = new Map<string, number>();
        for (const { uid, units: taken } of orders.values()) held.set(uid, (held.get(uid) ?? 0) + taken);
        for (const taken of held.values()) expect(taken).toBeLessThanOrEqual(limit);
        const sold = [...orders.values()].reduce((sum, { units: taken }) => sum + taken, 0);
        expect(sold).toBeLessThanOrEqual(units);
        expect(await world.auditAtRest(id)).toMatchObject({ total: units, sold, free: units - sold, rejected: 0 });
        expect((await world.orders(id)).map(({ orderId }) => orderId).toSorted()).toEqual([...orders.keys()].toSorted());
      }),
      { numRuns: 16, seed: 8 },
    );
  });

  it("a sale of nothing is refused", async () => {
    await expect(world.openSale("nothing", 0)).rejects.toThrow(/: 400 /);
  });

  it.each([1, 3])("a thousand first requests of one buyer at once take at most the limit of %i", async (limit) => {
    const id = `thousand-${limit}`;
    await world.openStocked(id, 10, { limitPerBuyer: limit, shardCount: 4 });
    // Once each: most are refused by the buyer's rate, and asking again until nobody is would take minutes.
    const fired = await many(1_000, (n) => world.once("POST", world.urlOf(id, "eager"), limit === 1 ? {} : { "idempotency-key": `k${n}` }));
    const won = new Set(fired.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId])));
    expect(won.size).toBeGreaterThan(0);
    expect(won.size).toBeLessThanOrEqual(limit);
    expect(await world.auditAtRest(id)).toMatchObject({ free: 10 - won.size, sold: won.size });
  });

  it("a limit above one holds over purchases, keys and repeats", async () => {
    await world.openSale("limit", 10, { limitPerBuyer: 3 });
    const bought = await many(8, (n) => world.buy("limit", "hungry", { "idempotency-key": `k${n % 4}` }));
    const orders = new Set(bought.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId])));
    expect(orders.size).toBe(3);
    expect(bought.filter(({ orderId }) => orderId === undefined).every(({ code }) => code === "limit_reached")).toBe(true);
    expect(await world.auditAtRest("limit")).toMatchObject({ free: 7, sold: 3 });
  });

  it("a winner who wants one more of a sale that is sold out everywhere hears so", async () => {
    await world.openSale("one-more", SHARDS, { limitPerBuyer: 2, shardCount: SHARDS });
    const first = await many(SHARDS, (n) => world.buy("one-more", `w${n}`, { "idempotency-key": "first" }));
    expect(first.every(({ orderId }) => orderId !== undefined)).toBe(true);
    const more = await many(SHARDS, (n) => world.buy("one-more", `w${n}`, { "idempotency-key": "second" }));
    expect(new Set(more.map(({ code }) => code))).toEqual(new Set(["sold_out"]));
    for (const [n, { orderId }] of first.entries())
      expect((await world.buy("one-more", `w${n}`, { "idempotency-key": "first" })).orderId).toBe(orderId);
    expect(await world.auditAtRest("one-more")).toMatchObject({ free: 0, sold: SHARDS });
  });

  it("a request of the first day, repeated after the sale, gets its first answer", async () => {
    await world.openSale("day-one", 5);
    const url = world.urlOf("day-one", "early");
    const first = await world.buyAt(url);
    expect(await world.final("day-one", "early")).toMatchObject({ code: "confirmed", orderId: first.orderId });
    await world.admin("/sales/day-one/state", { state: "closed" });
    let tourists = 0;
    // Each a new one: who got a unit before the closing would hear of it for ever.
    await until(async () => (await world.buy("day-one", `tourist${tourists++}`)).code === "closed", "the sale to be closed", 20_000);
    expect(await world.once("POST", url)).toMatchObject({ status: 200, code: "confirmed", orderId: first.orderId });
  });
});
