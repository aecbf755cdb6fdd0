import { Registry } from "prom-client";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { registerMetrics } from "../../gateway/buy/metrics.ts";
import { BrokenState, grant, reserve, saleKeys, stock, withdraw } from "../../lua/index.ts";
import { startRedis, type RedisServer } from "../harness/index.ts";
import { openEmptyShard, redisClient, stockSale } from "../harness/open-shard.ts";
import { DUMP } from "./key-space.ts";

/** A sale's hash that somebody else wrote: a script refuses to go on from what may not be, and changes nothing. */
const saleId = "sale-1";
let server: RedisServer;
let redis: Redis;
let shard = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const CALLS = {
  reserve: () => reserve(redis, { shard, saleId, outboxLimit: 10, purchases: ["ann", "bob"] }),
  grant: () => grant(redis, { shard, epoch: 1, saleId, grantId: "more", units: 2 }),
  withdraw: () => withdraw(redis, { shard, epoch: 1, saleId, units: 1, receiver: 2, moves: 1 }),
  stock: () => stock(redis, { shard, saleId }),
} as const;

const FORGED = [
  { field: "left", value: "-1", refused: ["reserve", "grant", "withdraw", "stock"] },
  { field: "left", value: "1.5", refused: ["reserve", "grant", "withdraw", "stock"] },
  { field: "left", value: "many", refused: ["reserve", "grant", "withdraw", "stock"] },
  { field: "moves", value: "some", refused: ["reserve", "grant"] },
] as const;

describe.each(FORGED)("with $field = $value", ({ field, value, refused }) => {
  it.each(refused)("%s refuses and changes nothing", async (name) => {
    shard += 1;
    await stockSale(redis, await openEmptyShard(redis, shard), { saleId, units: 3 });
    await redis.hset(saleKeys(shard, saleId).sale, field, value);
    const before = await redis.eval(DUMP, 0);
    await expect(CALLS[name]()).rejects.toBeInstanceOf(BrokenState);
    expect(await redis.eval(DUMP, 0)).toEqual(before);
  });
});

it("is counted by whoever meets it, and nothing else is", async () => {
  const registry = new Registry();
  const counts = (): never => {
    throw new Error("not asked");
  };
  const { onFault } = registerMetrics(registry, { counts, queued: () => [], waiting: () => 0, dry: () => [] });
  expect([onFault(new Error("timed out")), onFault(new BrokenState("BROKEN reserve"))]).toEqual([false, true]);
  expect(await registry.getSingleMetricAsString("doorbuster_gateway_broken_total")).toMatch(/ 1$/);
});
