import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#program";
import type { RestoreRequest } from "#protocol";
import { acquireLease, closeShard, defineSale, openShard, reserve, saleKeys, shardKeys, standing, stock } from "#lua";
import { freshDatabase, givenSale, startRedis, type RedisServer, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import type { RestoreTarget } from "./restore-ports.ts";
import { postgresRestoreSource } from "./postgres.ts";
import { redisRestoreTarget } from "./redis.ts";
import { restoreShard, type RestoreEnd } from "./restore.ts";

let empty: TestDatabase;
let database: Database;
let server: RedisServer;
let redis: Redis;
let shard = -1;
const EPOCH = 4;

beforeAll(async () => {
  [empty, server] = await Promise.all([freshDatabase(), startRedis()]);
  database = await connectDatabase({ url: empty.url, pool: 4, name: "restore-test" });
  redis = new Redis(server.url);
  await ensureShards(database.sql, 100);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
  await database.close();
  await empty.drop();
});

let request: RestoreRequest;
/** Every test has a shard of its own, closed by an attempt that the row names. */
beforeEach(async () => {
  shard += 1;
  const attempt = `attempt-${shard}`;
  await acquireLease(redis, { shard, token: "me", leaseMs: 60_000 });
  const closed = await closeShard(redis, { shard, token: "me", attempt });
  if (closed.status !== "ok") throw new Error(closed.status);
  request = { shard, epoch: EPOCH, attempt, replicationId: closed.replicationId };
  await database.sql("UPDATE shards SET epoch = ?, attempt = ?, mode = 'rebuild' WHERE shard = ?", [EPOCH, attempt, shard]);
});

const saleOf = (name: string): string => `${name}${shard}`;
const insertSale = async (
  name: string,
  change: { limit?: number; quota?: number; sold?: number; everSoldOut?: boolean } = {},
): Promise<void> => {
  const { limit = 1, quota = 0, sold = 0, everSoldOut = false } = change;
  await givenSale(database.sql, {
    id: saleOf(name),
    totalUnits: 8,
    opensAtMs: 5,
    closesAtMs: 9_000_000_000_000,
    limitPerBuyer: limit,
    version: 3,
    everSoldOut,
    shards: [{ shard, quotaUnits: quota, soldUnits: sold }],
  });
};
const insertGrant = (name: string, id: string, state: string) =>
  database.sql("INSERT INTO grants (sale_id, id, shard, units, kind, state) VALUES (?, ?, ?, 1, 'added', ?)", [
    saleOf(name),
    id,
    shard,
    state,
  ]);
const insertOrder = (name: string, uid: string, key: string, position: [number, number, number], units = 1, state = "pending_payment") =>
  database.sql(
    `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
    [saleOf(name), uid, key, shard, ...position, units, state],
  );

const source = () => postgresRestoreSource(database);
const restore = (
  target: RestoreTarget = redisRestoreTarget(redis, request),
  progress = (_orders: number): void => undefined,
): Promise<RestoreEnd> => restoreShard(source(), target, systemClock, request, progress);
const open = () =>
  openShard(redis, {
    shard,
    token: "me",
    attempt: request.attempt,
    replicationId: request.replicationId,
    epoch: EPOCH,
    untilMs: Date.now() + 60_000,
  });
const buyers = (name: string) => redis.hgetall(saleKeys(shard, saleOf(name)).buyers);

describe("a restore", () => {
  it("writes sales, buyers and grants as Postgres has them, and the shard sells on", async () => {
    await insertSale("a", { quota: 5, sold: 2 });
    await insertGrant("a", "opening", "done");
    await insertGrant("a", "more", "sent");
    await insertOrder("a", "ann", "", [1, 7, 0]);
    await insertOrder("a", "bob", "", [3, 2, 11]);
    await insertSale("b", { quota: 0 });
    expect(await restore()).toBe("done");
    expect(await open()).toEqual({ status: "ok" });

    expect(await buyers("a")).toEqual({ ann: "1-7-0-1", bob: "3-2-11-1" });
    expect(await redis.smembers(saleKeys(shard, saleOf("a")).grants)).toEqual(["opening"]);
    expect(await stock(redis, { shard, saleId: saleOf("a") })).toMatchObject({
      epoch: EPOCH,
      left: 3,
      moves: 1,
      version: 3,
      buyers: 2,
      movesApplied: true,
    });
    expect(await stock(redis, { shard, saleId: saleOf("b") })).toMatchObject({ left: 0, moves: 0 });

    const bought = await reserve(redis, { shard, saleId: saleOf("a"), outboxLimit: 100, purchases: ["ann", "cid"] });
    expect(bought).toMatchObject({
      status: "ok",
      position: { epoch: EPOCH, seq: 1 },
      left: 2,
      decisions: [{ decision: "c" }, { decision: "w" }],
    });
  });

  it("keeps a purchase that was refused, unless a later one of the same buyer and key stands", async () => {
    await insertSale("a", { quota: 5, sold: 1 });
    await insertOrder("a", "ann", "", [2, 9, 0], 1, "rejected");
    await insertOrder("a", "ann", "", [2, 4, 0], 1, "rejected");
    await insertOrder("a", "bob", "", [2, 5, 0], 1, "rejected");
    await insertOrder("a", "bob", "", [3, 1, 0]);
    expect(await restore()).toBe("done");
    await open();
    expect(await buyers("a")).toEqual({ ann: "x2-4-0-1", bob: "3-1-0-1" });
    const answer = await standing(redis, {
      shard,
      saleId: saleOf("a"),
      purchases: [
        { uid: "ann", key: "" },
        { uid: "bob", key: "" },
      ],
    });
    expect(answer).toMatchObject({ standings: [{ state: "rejected" }, { state: "confirmed" }] });
  });

  it("counts each buyer's units where the limit is above one, also across pages", async () => {
    await insertSale("a", { limit: 4, quota: 9_000, sold: 4_506 });
    // 2,000 orders a page: ann's are the last of one page and the first of the next.
    await database.sql(
      `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms)
       SELECT ?, 'a' || lpad(n::text, 5, '0'), '', ?::int, 1, n, 0, 1, 'pending_payment', 0 FROM generate_series(1, 1999) n
       UNION ALL SELECT ?, 'ann', k, ?::int, 2, 1, 0, 2, 'pending_payment', 0 FROM unnest(ARRAY['x', 'y', '']) k
       UNION ALL SELECT ?, 'b' || n, '', ?::int, 3, n, 0, 1, 'pending_payment', 0 FROM generate_series(1, 2501) n`,
      [saleOf("a"), shard, saleOf("a"), shard, saleOf("a"), shard],
    );
    await insertOrder("a", "zoe", "k", [2, 2, 0], 3, "rejected");
    const progress: number[] = [];
    expect(await restore(redisRestoreTarget(redis, request), (orders) => progress.push(orders))).toBe("done");
    expect(progress.slice(0, 3)).toEqual([2_000, 4_000, 4_503]);
    const fields = await buyers("a");
    expect(fields).toMatchObject({
      ann: "6",
      "ann:": "2-1-0-2",
      "ann:x": "2-1-0-2",
      a00001: "1",
      "a00001:": "1-1-0-1",
      b2501: "1",
      "zoe:k": "x2-2-0-3",
    });
    expect(fields["zoe"]).toBeUndefined();
    expect(Object.keys(fields)).toHaveLength(1_999 * 2 + 4 + 2_501 * 2 + 1);
  });

  it("brings back the buyers of orders that ended, and only once the units that such an order has given back", async () => {
    await insertSale("a", { quota: 5, sold: 2 });
    await insertOrder("a", "ann", "", [1, 7, 0], 1, "paid");
    await insertOrder("a", "bob", "", [1, 7, 1], 1, "expired");
    await insertOrder("a", "cid", "", [1, 7, 2], 1, "refunded");
    await insertGrant("a", `r${shard}-1-7-1`, "sent");
    await insertGrant("a", `r${shard}-1-7-2`, "done");
    expect(await restore()).toBe("done");
    expect(await buyers("a")).toEqual({ ann: "1-7-0-1", bob: "1-7-1-1", cid: "1-7-2-1" });
    expect(await redis.smembers(saleKeys(shard, saleOf("a")).grants)).toEqual([`r${shard}-1-7-2`]);
    expect(await redis.hget(saleKeys(shard, saleOf("a")).sale, "left")).toBe("3");
  });

  it("reports progress for every sale, also for those without orders", async () => {
    for (const name of ["a", "b", "c"]) await insertSale(name);
    let told = 0;
    await restore(redisRestoreTarget(redis, request), () => (told += 1));
    expect(told).toBe(3);
  });

  it("replaces what Redis had, and drops sales that Postgres does not have", async () => {
    await insertSale("a", { quota: 1 });
    await redis.hset(saleKeys(shard, "ghost").sale, "left", 100);
    await redis.sadd(shardKeys(shard).sales, "ghost", saleOf("a"));
    await redis.hset(saleKeys(shard, saleOf("a")).buyers, "ghost", "1-1-0-1");
    expect(await restore()).toBe("done");
    expect(await redis.smembers(shardKeys(shard).sales)).toEqual([saleOf("a")]);
    expect(await redis.exists(saleKeys(shard, "ghost").sale, saleKeys(shard, saleOf("a")).buyers)).toBe(0);
  });

  it("done again, or by two at once, is the same", async () => {
    await insertSale("a", { quota: 5, sold: 1 });
    await insertOrder("a", "ann", "", [1, 7, 0]);
    expect(await Promise.all([restore(), restore()])).toEqual(["done", "done"]);
    expect(await restore()).toBe("done");
    expect(await buyers("a")).toEqual({ ann: "1-7-0-1" });
  });

  it("leaves no staged key behind, and staged keys that nobody swaps expire", async () => {
    await insertSale("a", { quota: 5, sold: 1 });
    await insertOrder("a", "ann", "", [1, 7, 0]);
    const target = redisRestoreTarget(redis, request);
    const interrupted = restore({ ...target, swap: () => Promise.reject(new Error("killed here")) });
    await expect(interrupted).rejects.toThrow("killed here");
    const staged = await redis.keys(`{s${shard}}:restore:*`);
    expect(staged).toHaveLength(2);
    for (const key of staged) expect(await redis.pttl(key)).toBeGreaterThan(0);
    expect(await restore()).toBe("done");
    expect(await redis.keys(`{s${shard}}:restore:*`)).toEqual([]);
    expect(await redis.pttl(saleKeys(shard, saleOf("a")).sale)).toBe(-1);
  });
});

describe("a restore that was overtaken", () => {
  it("does nothing if the row is another attempt's, another epoch's, or keeps", async () => {
    await insertSale("a", { quota: 5 });
    for (const change of ["attempt = 'other'", `epoch = ${EPOCH + 1}`, "mode = 'keep'"]) {
      await database.sql(`UPDATE shards SET epoch = ?, attempt = ?, mode = 'rebuild' WHERE shard = ?`, [EPOCH, request.attempt, shard]);
      await database.sql(`UPDATE shards SET ${change} WHERE shard = ?`, [shard]);
      expect(await restore()).toBe("overtaken");
    }
    expect(await redis.exists(shardKeys(shard).epoch)).toBe(0);
  });

  it("does not restore a state of before its epoch, even if the row names it in the end", async () => {
    await insertSale("a", { quota: 5 });
    await database.sql("UPDATE shards SET epoch = ?, attempt = 'before' WHERE shard = ?", [EPOCH - 1, shard]);
    const early = {
      ...source(),
      row: async () => {
        await database.sql("UPDATE shards SET epoch = ?, attempt = ? WHERE shard = ?", [EPOCH, request.attempt, shard]);
        return source().row(shard);
      },
    };
    expect(await restoreShard(early, redisRestoreTarget(redis, request), systemClock, request, () => undefined)).toBe("overtaken");
    expect(await redis.exists(shardKeys(shard).epoch)).toBe(0);
  });

  it("ends before its last page: who waits behind it gets its place", async () => {
    await insertSale("a", { quota: 9_000, sold: 6_001 });
    // four pages
    await database.sql(
      `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms)
       SELECT ?, 'b' || n, '', ?::int, 3, n, 0, 1, 'pending_payment', 0 FROM generate_series(1, 6001) n`,
      [saleOf("a"), shard],
    );
    const target = redisRestoreTarget(redis, request);
    let pages = 0;
    const overtaken: RestoreTarget = {
      ...target,
      stageBuyers: async (saleId, fields) => {
        pages += 1;
        await target.stageBuyers(saleId, fields);
        if (pages === 2) await database.sql("UPDATE shards SET epoch = epoch + 1, attempt = 'later' WHERE shard = ?", [shard]);
      },
    };
    // by this clock every page takes a second
    let nowMs = 0;
    const slow = { ...systemClock, monotonicMs: () => (nowMs += 1_000) };
    expect(await restoreShard(source(), overtaken, slow, request, () => undefined)).toBe("overtaken");
    expect(pages).toBe(2);
  });

  it("stops before its last step if the row has moved on meanwhile", async () => {
    await insertSale("a", { quota: 5 });
    const target = redisRestoreTarget(redis, request);
    let swapped = false;
    const late: RestoreTarget = {
      ...target,
      listSales: async () => {
        await database.sql("UPDATE shards SET epoch = epoch + 1, attempt = 'later' WHERE shard = ?", [shard]);
        return target.listSales();
      },
      swap: (swap) => {
        swapped = true;
        return target.swap(swap);
      },
    };
    expect(await restore(late)).toBe("overtaken");
    expect(swapped).toBe(false);
  });

  it("does not touch a Redis that another attempt has closed since", async () => {
    await insertSale("a", { quota: 5 });
    await closeShard(redis, { shard, token: "me", attempt: "rival" });
    expect(await restore()).toBe("overtaken");
    expect(await redis.exists(shardKeys(shard).epoch)).toBe(0);
  });

  it("tells when staged keys are not what it wrote", async () => {
    await insertSale("a", { quota: 5, sold: 1 });
    await insertOrder("a", "ann", "", [1, 7, 0]);
    const target = redisRestoreTarget(redis, request);
    const lossy: RestoreTarget = { ...target, stageBuyers: () => Promise.resolve() };
    expect(await restore(lossy)).toBe("incomplete");
    expect(await redis.exists(shardKeys(shard).epoch)).toBe(0);
  });
});

describe("one snapshot", () => {
  it("is what is restored, whatever is committed meanwhile", async () => {
    await insertSale("a", { quota: 5, sold: 1 });
    await insertOrder("a", "ann", "", [1, 7, 0]);
    const target = redisRestoreTarget(redis, request);
    let changed = false;
    const during: RestoreTarget = {
      ...target,
      stageBuyers: async (saleId, fields) => {
        if (!changed) {
          changed = true;
          await insertOrder("a", "late", "", [1, 8, 0], 1, "rejected");
          await insertGrant("a", "late", "done");
          await database.sql("UPDATE sale_shards SET sold = 3 WHERE shard = ?", [shard]);
        }
        await target.stageBuyers(saleId, fields);
      },
    };
    expect(await restore(during)).toBe("done");
    expect(await buyers("a")).toEqual({ ann: "1-7-0-1" });
    expect(await redis.exists(saleKeys(shard, saleOf("a")).grants)).toBe(0);
    expect(await redis.hget(saleKeys(shard, saleOf("a")).sale, "left")).toBe("4");
  });
});

describe("units that come back to a sale that was flagged sold out", () => {
  it("are not in place before no gateway can believe the flag", async () => {
    await insertSale("a", { quota: 5, everSoldOut: true });
    let nowMs = 0;
    const slept: number[] = [];
    const clock = {
      monotonicMs: () => nowMs,
      sleep: (ms: number): Promise<void> => {
        slept.push(ms);
        nowMs += ms;
        return Promise.resolve();
      },
    };
    expect(await restoreShard(source(), redisRestoreTarget(redis, request), clock, request, () => undefined)).toBe("done");
    expect(slept).toEqual([600]);
  });
});

it("a definition of before the epoch stays known to the shard", async () => {
  await insertSale("a", { quota: 5 });
  await restore();
  await open();
  const definition = {
    shard,
    epoch: EPOCH,
    saleId: saleOf("a"),
    state: "paused",
    limit: 1,
    opensAtMs: 5,
    closesAtMs: 9_000_000_000_000,
  } as const;
  expect(await defineSale(redis, { ...definition, version: 3 })).toEqual({ status: "stale" });
  expect(await defineSale(redis, { ...definition, version: 4 })).toEqual({ status: "ok" });
});
