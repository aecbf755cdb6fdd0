import { cp, rename, rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fair, until, type Told } from "../harness/index.ts";

/**
 * P1 to P6 while each part is killed with -9 in the middle of a sale. One stack for all: what the first kill leaves
 * behind, the next one meets.
 */
const UNITS = 400;
const BUYERS = 600;
/** Buyers at a time: enough to keep batches full, few enough for two cores. */
const AT_ONCE = 32;

let fair: Fair;
beforeAll(async () => {
  fair = await Fair.open({ shards: 2 });
}, 180_000);
afterAll(() => fair?.close());

interface Crowd {
  readonly told: ReadonlyMap<string, Told>;
  /** resolves when everybody has an answer */
  readonly done: Promise<void>;
}

/** Everybody buys; winners buy again at once and must hear the same order (P3). */
const crowd = (saleId: string, buyers: number): Crowd => {
  const told = new Map<string, Told>();
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < buyers; n = next++) {
      const uid = `b${n}`;
      const first = await fair.buy(saleId, uid);
      told.set(uid, first);
      if (first.orderId !== undefined) expect((await fair.buy(saleId, uid)).orderId).toBe(first.orderId);
    }
  };
  return { told, done: Promise.all(Array.from({ length: AT_ONCE }, one)).then(() => undefined) };
};

/** Everything that was promised, once the sale is over. */
const expectKept = async (saleId: string, told: ReadonlyMap<string, Told>): Promise<void> => {
  const winners = [...told].filter(([, { orderId }]) => orderId !== undefined);
  expect(winners).toHaveLength(UNITS);
  for (const [uid, { orderId }] of winners) expect(await fair.final(saleId, uid)).toMatchObject({ code: "confirmed", orderId });
  const losers = [...told].filter(([, { orderId }]) => orderId === undefined);
  expect(new Set(losers.map(([, { code }]) => code))).toEqual(new Set(["sold_out"]));
  expect(await fair.auditAtRest(saleId)).toMatchObject({ free: 0, sold: UNITS, rejected: 0, duplicates: 0, orphans: 0 });
};

const midway = (told: ReadonlyMap<string, Told>): Promise<void> => until(() => told.size > UNITS / 4, "the sale to be under way", 60_000);

const firstChildOf = async (program: "gateway" | "workers"): Promise<number> => {
  const [, child] = (await fair.stack.info()).programs[program];
  if (child === undefined) throw new Error(`${program} has no processes`);
  return child;
};

describe("kill -9 in the middle of a sale changes nothing", { timeout: 180_000 }, () => {
  it.each(["gateway", "coordinator", "workers", "redis-0", "redis-1", "nats", "postgres"])("%s", async (part) => {
    const saleId = `kill-${part}`;
    await fair.openSale(saleId, UNITS);
    const { told, done } = crowd(saleId, BUYERS);
    await midway(told);
    fair.stack.kill(part);
    await done;
    await expectKept(saleId, told);
    await fair.stack.ready();
  });

  it.each(["gateway", "workers"] as const)("one process of the cluster: %s", async (program) => {
    const saleId = `kill-child-${program}`;
    await fair.openSale(saleId, UNITS);
    const { told, done } = crowd(saleId, BUYERS);
    await midway(told);
    process.kill(await firstChildOf(program), "SIGKILL");
    await done;
    await expectKept(saleId, told);
    await fair.stack.ready();
  });

  it("two sales at once, with every Redis killed", async () => {
    const sales = ["both-a", "both-b"];
    for (const saleId of sales) await fair.openSale(saleId, UNITS);
    const crowds = sales.map((saleId) => crowd(saleId, BUYERS));
    for (const { told } of crowds) await midway(told);
    fair.stack.kill("redis-0");
    fair.stack.kill("redis-1");
    for (const { done } of crowds) await done;
    for (const [n, saleId] of sales.entries()) await expectKept(saleId, crowds[n]?.told ?? new Map());
  });
});

describe("a Redis restarted on an older copy of its folder", { timeout: 180_000 }, () => {
  it("is rebuilt from Postgres: whoever was confirmed keeps the order, and the sale sells out exactly", async () => {
    const saleId = "older-copy";
    await fair.openSale(saleId, UNITS);
    const before = crowd(saleId, 100);
    await before.done;

    // Whichever shard has the sale: both get their older folder back.
    const { redis } = await fair.stack.info();
    for (const { dir } of redis) await cp(dir as string, `${dir as string}.older`, { recursive: true });
    const between = new Map<string, Told>();
    for (let n = 100; n < 200; n++) between.set(`b${n}`, await fair.buy(saleId, `b${n}`));
    for (const uid of between.keys()) expect((await fair.final(saleId, uid)).code).toBe("confirmed");

    for (const [shard, { dir, pid }] of redis.entries()) {
      const restarts = fair.stack.restarts;
      process.kill(pid as number, "SIGKILL");
      await until(() => fair.stack.pid(`redis-${shard}`) !== pid, "the server to be gone", 10_000);
      // The supervisor starts it again 2 s after its death: until then the folder can be changed.
      await rm(dir as string, { recursive: true });
      await rename(`${dir as string}.older`, dir as string);
      await until(() => fair.stack.restarts > restarts, "the server to be counted as restarted", 10_000);
    }
    await fair.stack.ready();

    const { told, done } = crowd(saleId, BUYERS);
    await done;
    for (const [uid, { orderId }] of [...before.told, ...between]) expect(told.get(uid)?.orderId).toBe(orderId);
    await expectKept(saleId, told);
  });
});
