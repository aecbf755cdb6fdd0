import { pino } from "pino";
import { Registry } from "prom-client";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMetrics } from "../../coordinator/metrics.ts";
import { systemClock } from "#program";
import { countViolations } from "../../gateway/violations.ts";
import { InvariantViolation, defineSale, grant, Invariant, reserve, saleKeys, settle, shardKeys, standing, stock, withdraw } from "#lua";
import { faultLog } from "../../workers/faults.ts";
import { startRedis, type RedisServer } from "../harness/index.ts";
import { openEmptyShard, redisClient, stockSale } from "../harness/open-shard.ts";
import { DUMP } from "./key-space.ts";

/** Keys that somebody else wrote, and calls that nobody of ours makes: a script refuses to go on from a violated invariant, and changes nothing. */
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
  standing: () => standing(redis, { shard, saleId, purchases: [{ uid: "ann", key: "" }] }),
  grant: () => grant(redis, { shard, epoch: 1, saleId, grantId: "more", units: 2 }),
  withdraw: () => withdraw(redis, { shard, epoch: 1, saleId, units: 1, receiver: 2, moves: 1 }),
  stock: () => stock(redis, { shard, saleId }),
  reopen: () =>
    defineSale(redis, { shard, epoch: 1, saleId, version: 3, state: "open", limit: 1, opensAtMs: 0, closesAtMs: Number.MAX_SAFE_INTEGER }),
  // the opening grant is entry 1
  settleAhead: () => settle(redis, { shard, epoch: 1, applied: 2 }),
} as const;

type Forge = (keys: ReturnType<typeof saleKeys>) => Promise<unknown>;
const hash =
  (field: string, value: string): Forge =>
  (keys) =>
    redis.hset(keys.sale, field, value);

const FORGED: readonly {
  readonly what: string;
  readonly forge: Forge;
  readonly invariant: Invariant;
  readonly refused: (keyof typeof CALLS)[];
}[] = [
  { what: "a stock below none", forge: hash("left", "-1"), invariant: "stock", refused: ["reserve", "grant", "withdraw", "stock"] },
  { what: "half a unit", forge: hash("left", "1.5"), invariant: "stock", refused: ["reserve", "grant", "withdraw", "stock"] },
  {
    what: "a stock that is no number",
    forge: hash("left", "many"),
    invariant: "stock",
    refused: ["reserve", "grant", "withdraw", "stock"],
  },
  { what: "uncounted moves", forge: hash("moves", "some"), invariant: "stock", refused: ["reserve", "grant"] },
  {
    what: "a buyer's field that nobody wrote",
    forge: ({ buyers }) => redis.hset(buyers, "ann", "yes"),
    invariant: "reservation",
    refused: ["reserve", "standing"],
  },
  { what: "a sale that was closed", forge: hash("state", "closed"), invariant: "sale_state", refused: ["reopen"] },
  { what: "an open shard without the entry", forge: () => Promise.resolve(), invariant: "settled", refused: ["settleAhead"] },
];

describe.each(FORGED)("with $what", ({ forge, invariant, refused }) => {
  it.each(refused)("%s refuses and changes nothing", async (name) => {
    shard += 1;
    await stockSale(redis, await openEmptyShard(redis, shard), { saleId, units: 3 });
    await forge(saleKeys(shard, saleId));
    const before = await redis.eval(DUMP, 0);
    await expect(CALLS[name]()).rejects.toMatchObject({ name: "InvariantViolation", invariant });
    expect(await redis.eval(DUMP, 0)).toEqual(before);
  });
});

it("a shard that is not open may have less than Postgres: it is settled, and compared by the next attempt", async () => {
  shard += 1;
  await stockSale(redis, await openEmptyShard(redis, shard), { saleId, units: 3 });
  await redis.del(shardKeys(shard).open);
  expect(await CALLS.settleAhead()).toEqual({ status: "ok" });
});

describe("each is counted by what it is", () => {
  const silent = pino({ level: "silent" });
  const ALL = Object.values(Invariant);
  const counted = (text: string, metric: string): number[] =>
    ALL.map((invariant) => Number(new RegExp(`^${metric}\\{invariant="${invariant}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0));
  const violations = ALL.map((invariant) => new InvariantViolation(invariant, "{s0}", "forged"));
  const faults = [new Error("timed out"), ...violations];
  const once = ALL.map(() => 1);

  it("by a gateway inside another program", async () => {
    const registry = new Registry();
    const onViolation = countViolations(registry, silent, systemClock);
    for (const found of violations) onViolation(found);
    const metric = "doorbuster_gateway_invariant_violations_total";
    expect(counted(await registry.getSingleMetricAsString(metric), metric)).toEqual(once);
  });

  it("by a coordinator", async () => {
    const metrics = createMetrics(silent, systemClock);
    for (const fault of faults) metrics.fault("here", fault);
    const metric = "doorbuster_coordinator_invariant_violations_total";
    expect(counted(await metrics.registry.getSingleMetricAsString(metric), metric)).toEqual(once);
  });

  it("by a worker's primary, which is called of each and of no other fault", async () => {
    const called: InvariantViolation[] = [];
    for (const fault of faults) faultLog(silent, systemClock, (found) => called.push(found))("here")(fault);
    expect(called).toEqual(violations);
  });
});
