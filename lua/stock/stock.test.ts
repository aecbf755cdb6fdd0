import type { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../../test/harness/index.ts";
import { openEmptyShard, redisClient, stockSale, type OpenedShard } from "../../test/harness/open-shard.ts";
import { grant, grantScript } from "./grant.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { CorruptEntry, listSales, readOutbox } from "../shard/outbox.ts";
import { reserve } from "./reserve.ts";
import { defineSale, type DefineSale } from "./sale.ts";
import { settle } from "../shard/settle.ts";
import { shardState } from "../shard/shard-state.ts";
import { standing } from "./standing.ts";
import { stock } from "./stock.ts";

const saleId = "sale-1";
const EPOCH = 3;

let server: RedisServer;
let redis: Redis;
let opened: OpenedShard;
let shard = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});
beforeEach(async () => {
  opened = await openEmptyShard(redis, ++shard, EPOCH);
});

const define = (change: Partial<DefineSale> = {}) =>
  defineSale(redis, { shard, epoch: EPOCH, saleId, version: 1, state: "open", limit: 1, opensAtMs: 5, closesAtMs: 9e15, ...change });
const give = (grantId: string, units: number) => grant(redis, { shard, epoch: EPOCH, saleId, grantId, units });
const buy = (...purchases: string[]) => reserve(redis, { shard, saleId, outboxLimit: 1_000, purchases });
const look = () => stock(redis, { shard, saleId });
const entries = () => readOutbox(redis, { shard, after: { epoch: 0, seq: 0 }, count: 100 });

describe("sale", () => {
  it("begins without stock, and is listed", async () => {
    expect(await define()).toEqual({ status: "ok" });
    expect(await look()).toEqual({
      status: "ok",
      epoch: EPOCH,
      left: 0,
      moves: 0,
      movesApplied: true,
      state: "open",
      version: 1,
      limit: 1,
      opensAtMs: 5,
      closesAtMs: 9e15,
      buyers: 0,
    });
    expect(await listSales(redis, shard)).toEqual([saleId]);
    expect(await entries()).toEqual([]);
  });

  it("changes its definition only to a later version and never its stock", async () => {
    await define();
    await give("opening", 4);
    await buy("ann");
    expect(await define({ version: 3, state: "paused", opensAtMs: 6, closesAtMs: 7 })).toEqual({ status: "ok" });
    expect(await define({ version: 3 })).toEqual({ status: "stale" });
    expect(await define({ version: 2, state: "closed" })).toEqual({ status: "stale" });
    expect(await look()).toMatchObject({ left: 3, moves: 1, state: "paused", version: 3, opensAtMs: 6, closesAtMs: 7, buyers: 1 });
  });

  it.each([
    ["another limit", { version: 2, limit: 2 }],
    ["an unknown state", { version: 2, state: "gone" as "open" }],
    ["a limit of 0", { version: 2, limit: 0 }],
  ])("takes %s as an error", async (_, change) => {
    await define();
    await expect(define(change)).rejects.toThrow(/^ERR sale: /);
    expect(await look()).toMatchObject({ version: 1, limit: 1, state: "open" });
  });
});

describe("grant", () => {
  it("takes units in once, with an entry", async () => {
    await define();
    expect(await give("opening", 4)).toEqual({ status: "ok", position: { epoch: EPOCH, seq: 1 } });
    expect(await give("opening", 4)).toEqual({ status: "duplicate" });
    expect(await give("more", 2)).toEqual({ status: "ok", position: { epoch: EPOCH, seq: 2 } });
    expect(await look()).toMatchObject({ left: 6, moves: 2, movesApplied: false });
    const common = { kind: "g", saleId, atMs: expect.any(Number) };
    expect(await entries()).toEqual([
      { epoch: EPOCH, entry: { ...common, seq: 1, grantId: "opening", units: 4 } },
      { epoch: EPOCH, entry: { ...common, seq: 2, grantId: "more", units: 2 } },
    ]);
  });

  it("tells whether the last stock move is in Postgres", async () => {
    await define();
    await give("opening", 4);
    await give("more", 2);
    await settle(redis, { shard, epoch: EPOCH, applied: 1 });
    expect(await look()).toMatchObject({ movesApplied: false });
    await settle(redis, { shard, epoch: EPOCH, applied: 2 });
    expect(await look()).toMatchObject({ movesApplied: true });
    await redis.hset(saleKeys(shard, saleId).sale, "moved_at", `${EPOCH - 1}-900`);
    expect(await look()).toMatchObject({ movesApplied: true });
  });

  it("makes no sale by side effect", async () => {
    expect(await give("opening", 4)).toEqual({ status: "unknown" });
    expect(await redis.exists(...Object.values(saleKeys(shard, saleId)))).toBe(0);
    expect(await entries()).toEqual([]);
  });

  it.each([["0"], ["-1"], ["1.5"], ["many"], ["99999999999"]])("takes %s units as an error", async (units) => {
    await define();
    const keys = shardKeys(shard);
    const sale = saleKeys(shard, saleId);
    const run = grantScript.run(redis, [keys.open, keys.epoch, keys.outbox, sale.sale, sale.grants], [EPOCH, saleId, "g", units]);
    await expect(run).rejects.toThrow(/^ERR grant: /);
    expect(await look()).toMatchObject({ left: 0, moves: 0 });
  });

  it("appends nothing to an outbox that is gone", async () => {
    await define();
    await redis.del(shardKeys(shard).outbox);
    expect(await give("opening", 4)).toEqual({ status: "recovering" });
    expect(await redis.exists(saleKeys(shard, saleId).grants)).toBe(0);
  });
});

describe("standing", () => {
  it("tells none, reserved, confirmed and rejected, in order", async () => {
    await stockSale(redis, opened, { saleId, units: 5 });
    await buy("ann");
    await buy("bob");
    await redis.hset(saleKeys(shard, saleId).buyers, "cy", "x3-1-0-1");
    await settle(redis, { shard, epoch: EPOCH, applied: 2 });
    const purchases = ["cy", "di", "ann", "bob"].map((uid) => ({ uid, key: "ignored" }));
    const reservation = { epoch: EPOCH, index: 0, units: 1, rejected: false };
    expect(await standing(redis, { shard, saleId, purchases })).toEqual({
      status: "ok",
      standings: [
        { state: "rejected", reservation: { ...reservation, seq: 1, rejected: true } },
        { state: "none" },
        { state: "confirmed", reservation: { ...reservation, seq: 2 } },
        { state: "reserved", reservation: { ...reservation, seq: 3 } },
      ],
    });
  });

  it("looks purchases up by key where the limit is above one", async () => {
    await stockSale(redis, opened, { saleId, units: 5, limit: 3 });
    await buy("ann:a:2", "ann");
    const purchases = ["a", "", "b"].map((key) => ({ uid: "ann", key }));
    expect(await standing(redis, { shard, saleId, purchases })).toMatchObject({
      standings: [
        { state: "reserved", reservation: { index: 0, units: 2 } },
        { state: "reserved", reservation: { index: 1, units: 1 } },
        { state: "none" },
      ],
    });
  });

  it.each([0, 513])("takes %i purchases as an error", async (count) => {
    await stockSale(redis, opened, { saleId, units: 5 });
    const purchases = Array.from({ length: count }, (_, i) => ({ uid: `b${i}`, key: "" }));
    await expect(standing(redis, { shard, saleId, purchases })).rejects.toThrow(/^ERR standing: /);
  });
});

describe("settle", () => {
  const settled = async (epoch: number, applied: number): Promise<string> => (await settle(redis, { shard, epoch, applied })).status;
  const seqs = async (): Promise<number[]> => (await entries()).map(({ entry }) => entry.seq);

  it("raises the position and drops exactly what is applied", async () => {
    await stockSale(redis, opened, { saleId, units: 500 });
    // More than a node of Redis's streams holds (100 entries): an inexact trim would leave some.
    for (let i = 0; i < 250; i++) await buy(`buyer-${i}`);
    expect(await settled(EPOCH, 103)).toBe("ok");
    expect((await readOutbox(redis, { shard, after: { epoch: 0, seq: 0 }, count: 1_000 })).map(({ entry }) => entry.seq)).toEqual(
      Array.from({ length: 251 - 103 }, (_, i) => 104 + i),
    );
    expect(await shardState(redis, { shard })).toMatchObject({ applied: "3-103", last: "3-251" });
    expect(await settled(EPOCH, 251)).toBe("ok");
    expect(await seqs()).toEqual([]);
    expect(await buy("zoe")).toMatchObject({ position: { epoch: EPOCH, seq: 252 } });
  });

  it("never lowers", async () => {
    await stockSale(redis, opened, { saleId, units: 5 });
    await buy("ann");
    await buy("bob");
    expect(await settled(EPOCH, 2)).toBe("ok");
    expect(await settled(EPOCH, 2)).toBe("stale");
    expect(await settled(EPOCH, 1)).toBe("stale");
    expect(await shardState(redis, { shard })).toMatchObject({ applied: "3-2" });
    expect(await seqs()).toEqual([3]);
  });

  it.each([EPOCH - 1, EPOCH + 1])("ignores epoch %i", async (epoch) => {
    await stockSale(redis, opened, { saleId, units: 5 });
    await buy("ann");
    expect(await settled(epoch, 2)).toBe("foreign");
    expect(await shardState(redis, { shard })).toMatchObject({ applied: "3-0" });
    expect(await seqs()).toEqual([1, 2]);
  });

  it("begins anew in a new epoch, whatever an earlier one's position was", async () => {
    await stockSale(redis, opened, { saleId, units: 5 });
    await redis.set(shardKeys(shard).applied, "2-900");
    expect(await settled(EPOCH, 1)).toBe("ok");
  });
});

describe("readOutbox", () => {
  it("reads behind a position, at most as many as asked for, and waits", async () => {
    await stockSale(redis, opened, { saleId, units: 5 });
    await buy("ann");
    await buy("bob");
    const read = async (seq: number, count: number): Promise<number[]> =>
      (await readOutbox(redis, { shard, after: { epoch: EPOCH, seq }, count })).map(({ entry }) => entry.seq);
    expect(await read(1, 10)).toEqual([2, 3]);
    expect(await read(0, 2)).toEqual([1, 2]);
    expect(await read(3, 10)).toEqual([]);
    const tail = await redisClient(server.url);
    const waiting = readOutbox(tail, { shard, after: { epoch: EPOCH, seq: 3 }, count: 10, blockMs: 30_000 });
    await buy("cy");
    expect(await waiting).toMatchObject([{ epoch: EPOCH, entry: { seq: 4, purchases: "cy" } }]);
    tail.disconnect();
  });

  it.each([
    ["no kind", ["s", saleId]],
    ["an unknown kind", ["k", "z", "s", saleId, "t", "1"]],
    ["no count", ["k", "o", "s", saleId, "t", "1", "b", "ann"]],
    ["a time that is no number", ["k", "g", "s", saleId, "t", "now", "g", "opening", "u", "1"]],
  ])("throws at an entry with %s", async (_, fields) => {
    await redis.xadd(shardKeys(shard).outbox, `${EPOCH}-*`, ...fields);
    await expect(entries()).rejects.toBeInstanceOf(CorruptEntry);
  });
});
