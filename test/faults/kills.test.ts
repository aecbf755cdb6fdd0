import { cp, rename, rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StackWorld, until, type BuyAnswer } from "../harness/index.ts";

/**
 * P1 to P6 while each part is killed with -9 in the middle of a sale. One stack for all: what the first kill leaves
 * behind, the next one meets.
 */
const UNITS = 400;
const BUYERS = 600;
/** Buyers at a time: enough to keep batches full, few enough for two cores. */
const AT_ONCE = 32;

let world: StackWorld;
beforeAll(async () => {
  world = await StackWorld.start({ shards: 2 });
}, 180_000);
afterAll(() => world?.close());

interface Crowd {
  readonly answers: ReadonlyMap<string, BuyAnswer>;
  /** resolves when everybody has an answer */
  readonly done: Promise<void>;
}

/** Everybody buys; winners buy again at once and must hear the same order (P3). */
const crowd = (saleId: string, buyers: number): Crowd => {
  const answers = new Map<string, BuyAnswer>();
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < buyers; n = next++) {
      const uid = `b${n}`;
      const first = await world.buy(saleId, uid);
      answers.set(uid, first);
      if (first.orderId !== undefined) expect((await world.buy(saleId, uid)).orderId).toBe(first.orderId);
    }
  };
  return { answers, done: Promise.all(Array.from({ length: AT_ONCE }, one)).then(() => undefined) };
};

/** Everything that was promised, once the sale is over. */
const expectKept = async (saleId: string, answers: ReadonlyMap<string, BuyAnswer>): Promise<void> => {
  const winners = [...answers].filter(([, { orderId }]) => orderId !== undefined);
  expect(winners).toHaveLength(UNITS);
  for (const [uid, { orderId }] of winners) expect(await world.final(saleId, uid)).toMatchObject({ code: "confirmed", orderId });
  const losers = [...answers].filter(([, { orderId }]) => orderId === undefined);
  expect(new Set(losers.map(([, { code }]) => code))).toEqual(new Set(["sold_out"]));
  expect(await world.auditAtRest(saleId)).toMatchObject({ free: 0, sold: UNITS, rejected: 0, duplicates: 0, orphans: 0 });
};

const midway = (answers: ReadonlyMap<string, BuyAnswer>): Promise<void> =>
  until(() => answers.size > UNITS / 4, "the sale to be under way", 60_000);

const firstChildOf = async (program: "gateway" | "workers"): Promise<number> => {
  const [, child] = (await world.stack.info()).programs[program];
  if (child === undefined) throw new Error(`${program} has no processes`);
  return child;
};

describe("kill -9 in the middle of a sale changes nothing", { timeout: 180_000 }, () => {
  it.each(["gateway", "coordinator", "workers", "redis-0", "redis-1", "nats", "postgres"])("%s", async (part) => {
    const saleId = `kill-${part}`;
    await world.openSale(saleId, UNITS);
    const { answers, done } = crowd(saleId, BUYERS);
    await midway(answers);
    world.stack.kill(part);
    await done;
    await expectKept(saleId, answers);
    await world.stack.ready();
  });

  it.each(["gateway", "workers"] as const)("one process of the cluster: %s", async (program) => {
    const saleId = `kill-child-${program}`;
    await world.openSale(saleId, UNITS);
    const { answers, done } = crowd(saleId, BUYERS);
    await midway(answers);
    process.kill(await firstChildOf(program), "SIGKILL");
    await done;
    await expectKept(saleId, answers);
    await world.stack.ready();
  });

  it("two sales at once, with every Redis killed", async () => {
    const sales = ["both-a", "both-b"];
    for (const saleId of sales) await world.openSale(saleId, UNITS);
    const crowds = sales.map((saleId) => crowd(saleId, BUYERS));
    for (const { answers } of crowds) await midway(answers);
    world.stack.kill("redis-0");
    world.stack.kill("redis-1");
    for (const { done } of crowds) await done;
    for (const [n, saleId] of sales.entries()) await expectKept(saleId, crowds[n]?.answers ?? new Map());
  });
});

describe("a Redis restarted on an older copy of its folder", { timeout: 180_000 }, () => {
  it("is rebuilt from Postgres: whoever was confirmed keeps the order, and the sale sells out exactly", async () => {
    const saleId = "older-copy";
    await world.openSale(saleId, UNITS);
    const before = crowd(saleId, 100);
    await before.done;

    // Whichever shard has the sale: both get their older folder back.
    const { redis } = await world.stack.info();
    for (const { dir } of redis) await cp(dir as string, `${dir as string}.older`, { recursive: true });
    const between = new Map<string, BuyAnswer>();
    for (let n = 100; n < 200; n++) between.set(`b${n}`, await world.buy(saleId, `b${n}`));
    for (const uid of between.keys()) expect((await world.final(saleId, uid)).code).toBe("confirmed");

    for (const [shard, { dir, pid }] of redis.entries()) {
      const restarts = world.stack.restarts;
      process.kill(pid as number, "SIGKILL");
      await until(() => world.stack.pid(`redis-${shard}`) !== pid, "the server to be gone", 10_000);
      // The supervisor starts it again 2 s after its death: until then the folder can be changed.
      await rm(dir as string, { recursive: true });
      await rename(`${dir as string}.older`, dir as string);
      await until(() => world.stack.restarts > restarts, "the server to be counted as restarted", 10_000);
    }
    await world.stack.ready();

    const { answers, done } = crowd(saleId, BUYERS);
    await done;
    for (const [uid, { orderId }] of [...before.answers, ...between]) expect(answers.get(uid)?.orderId).toBe(orderId);
    await expectKept(saleId, answers);
  });
});
