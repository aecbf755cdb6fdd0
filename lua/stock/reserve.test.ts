import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../../test/harness/index.ts";
import { openEmptyShard, redisClient, stockSale, type OpenedShard } from "../../test/harness/open-shard.ts";
import { Decision } from "../core/codes.ts";
import { formatReservation } from "./fields.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { readOutbox } from "../shard/outbox.ts";
import { MOST_PURCHASES, reserve, reserveScript, type Reserved } from "./reserve.ts";
import { defineSale } from "./sale.ts";
import { settle } from "../shard/settle.ts";
import { stock } from "./stock.ts";

let server: RedisServer;
let redis: Redis;
let shards = 0;
let opened: OpenedShard;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const SALE = "sale-1";

/** A new shard with one sale. */
const given = async (sale: Omit<Parameters<typeof stockSale>[2], "saleId">): Promise<number> => {
  opened = await openEmptyShard(redis, ++shards);
  await stockSale(redis, opened, { saleId: SALE, ...sale });
  return opened.shard;
};

const buy = (shard: number, purchases: readonly string[], outboxLimit = 1_000): Promise<Reserved> =>
  reserve(redis, { shard, saleId: SALE, outboxLimit, purchases });

/** `<decision>` or `<decision> <reservation>`, one a purchase. */
const told = (answer: Reserved): string[] | string =>
  answer.status === "ok"
    ? answer.decisions.map(({ decision, reservation }) =>
        reservation === undefined ? decision : `${decision} ${formatReservation(reservation)}`,
      )
    : answer.status;

const decide = async (...request: Parameters<typeof buy>): Promise<string[] | string> => told(await buy(...request));

const left = async (shard: number): Promise<number> => Number(await redis.hget(saleKeys(shard, SALE).sale, "left"));
const fields = (shard: number): Promise<Record<string, string>> => redis.hgetall(saleKeys(shard, SALE).buyers);

describe("a batch of first purchases", () => {
  it("takes a unit for each and appends one entry for all of them", async () => {
    const shard = await given({ units: 5 });
    const answer = await buy(shard, ["ann", "bob", "cy"]);
    expect(told(answer)).toEqual(["w 1-2-0-1", "w 1-2-1-1", "w 1-2-2-1"]);
    expect(answer).toMatchObject({ status: "ok", position: { epoch: 1, seq: 2 }, left: 2 });
    expect(answer).not.toHaveProperty("opensAtMs");
    expect(await left(shard)).toBe(2);
    expect(await fields(shard)).toEqual({ ann: "1-2-0-1", bob: "1-2-1-1", cy: "1-2-2-1" });
    const entries = await readOutbox(redis, { shard, after: { epoch: 1, seq: 1 }, count: 10 });
    expect(entries).toEqual([
      { epoch: 1, entry: { kind: "o", seq: 2, saleId: SALE, atMs: expect.any(Number), count: 3, purchases: "ann bob cy" } },
    ]);
  });

  it("gives the last units to the first in order, tells the others dry and writes nothing for them", async () => {
    const shard = await given({ units: 2 });
    expect(await decide(shard, ["ann", "bob", "cy", "di"])).toEqual(["w 1-2-0-1", "w 1-2-1-1", "d", "d"]);
    const before = await redis.dbsize();
    const answer = await buy(shard, ["ed", "flo"]);
    expect(answer).toMatchObject({ status: "ok", position: undefined, left: 0 });
    expect(told(answer)).toEqual(["d", "d"]);
    expect(await fields(shard)).toEqual({ ann: "1-2-0-1", bob: "1-2-1-1" });
    expect(await redis.dbsize()).toBe(before);
    expect(await redis.xlen(shardKeys(shard).outbox)).toBe(2);
  });

  it("decides the largest batch, with index and left right", async () => {
    const shard = await given({ units: 1_000 });
    const purchases = Array.from({ length: MOST_PURCHASES }, (_, i) => `buyer-${i}`);
    const answer = await buy(shard, purchases);
    expect(told(answer)).toEqual(purchases.map((_, i) => `w 1-2-${i}-1`));
    expect(await fields(shard)).toEqual(Object.fromEntries(purchases.map((uid, i) => [uid, `1-2-${i}-1`])));
    expect(await left(shard)).toBe(1_000 - MOST_PURCHASES);
  });

  it("decides the largest batch of keyed purchases where the limit is above one", async () => {
    const shard = await given({ units: 5_000, limit: 4 });
    const purchases = Array.from({ length: MOST_PURCHASES }, (_, i) => `buyer-${i >> 1}:k${i & 1}:2`);
    expect(await decide(shard, purchases)).toEqual(purchases.map((_, i) => `w 1-2-${i}-2`));
    expect(await redis.hlen(saleKeys(shard, SALE).buyers)).toBe(MOST_PURCHASES + MOST_PURCHASES / 2);
    expect(await left(shard)).toBe(5_000 - 2 * MOST_PURCHASES);
  });
});

describe("a repeat", () => {
  it("is told the first answer, reserved and then confirmed, and takes nothing", async () => {
    const shard = await given({ units: 5 });
    await buy(shard, ["ann", "bob"]);
    await buy(shard, ["cy"]);
    expect(await decide(shard, ["ann", "di", "cy"])).toEqual(["r 1-2-0-1", "w 1-4-0-1", "r 1-3-0-1"]);
    await settle(redis, { shard, epoch: 1, applied: 2 });
    expect(await decide(shard, ["ann", "bob", "cy", "di"])).toEqual(["c 1-2-0-1", "c 1-2-1-1", "r 1-3-0-1", "r 1-4-0-1"]);
    expect(await left(shard)).toBe(1);
  });

  it("inside one batch is told the reservation that the batch just made", async () => {
    const shard = await given({ units: 2 });
    expect(await decide(shard, ["ann", "ann", "bob", "ann", "cy", "bob"])).toEqual([
      "w 1-2-0-1",
      "r 1-2-0-1",
      "w 1-2-1-1",
      "r 1-2-0-1",
      "d",
      "r 1-2-1-1",
    ]);
    expect(await left(shard)).toBe(0);
    const [, entry] = await readOutbox(redis, { shard, after: { epoch: 1, seq: 0 }, count: 10 });
    expect(entry?.entry).toMatchObject({ count: 2, purchases: "ann bob" });
  });

  it("on the last unit is told the win, not dry", async () => {
    const shard = await given({ units: 1 });
    expect(await decide(shard, ["ann"])).toEqual(["w 1-2-0-1"]);
    expect(await decide(shard, ["ann", "bob", "ann"])).toEqual(["r 1-2-0-1", "d", "r 1-2-0-1"]);
  });

  it.each([
    ["paused", { state: "paused" }],
    ["closed", { state: "closed" }],
    ["past its window, on day three", { closesAtMs: 1 }],
    ["before its window", { opensAtMs: Number.MAX_SAFE_INTEGER - 1 }],
  ] as const)("of a sale that is %s comes before the refusal", async (_, change) => {
    const shard = await given({ units: 3 });
    await buy(shard, ["ann"]);
    const sale = { saleId: SALE, version: 2, state: "open", limit: 1, opensAtMs: 0, closesAtMs: Number.MAX_SAFE_INTEGER } as const;
    expect(await defineSale(redis, { shard, epoch: 1, ...sale, ...change })).toEqual({ status: "ok" });
    const [repeat, first] = (await decide(shard, ["ann", "bob"])) as string[];
    expect(repeat).toBe("r 1-2-0-1");
    expect(first).toMatch(/^[pen]$/);
    expect(await left(shard)).toBe(2);
  });

  it("of an earlier epoch is confirmed, whatever its seq", async () => {
    const shard = await given({ units: 3 });
    await redis.hset(saleKeys(shard, SALE).buyers, { old: "0-99-3-1", bad: "x1-1-0-1" });
    expect(await decide(shard, ["old", "bad"])).toEqual(["c 0-99-3-1", "x x1-1-0-1"]);
  });

  it("is not confirmed by a position of another epoch", async () => {
    const shard = await given({ units: 3 });
    await buy(shard, ["ann"]);
    await redis.set(shardKeys(shard).applied, "2-50");
    expect(await decide(shard, ["ann"])).toEqual(["r 1-2-0-1"]);
  });
});

describe("a sale that does not sell", () => {
  it("is told by its state and window", async () => {
    const soon = Date.now() + 3_600_000;
    const at = async (sale: Partial<Parameters<typeof stockSale>[2]>): Promise<Reserved> =>
      buy(await given({ units: 3, ...sale }), ["ann"]);
    const early = await at({ opensAtMs: soon, closesAtMs: soon + 1 });
    expect(told(early)).toEqual([Decision.notOpen]);
    expect(early).toMatchObject({ opensAtMs: soon });
    expect(told(await at({ closesAtMs: 1 }))).toEqual([Decision.closed]);
    expect(told(await at({ state: "closed" }))).toEqual([Decision.closed]);
    expect(told(await at({ state: "paused" }))).toEqual([Decision.paused]);
  });

  it("is unstocked until its first grant, then dry", async () => {
    const shard = await given({ units: 0 });
    expect(await decide(shard, ["ann"])).toEqual([Decision.unstocked]);
  });

  it("is unknown where it has no hash, and nothing makes one", async () => {
    const shard = await given({ units: 3 });
    const keys = await redis.dbsize();
    expect(await reserve(redis, { shard, saleId: "other", outboxLimit: 10, purchases: ["ann"] })).toEqual({ status: "unknown" });
    expect(await stock(redis, { shard, saleId: "other" })).toEqual({ status: "unknown" });
    expect(await redis.dbsize()).toBe(keys);
  });

  it("is busy while the outbox is at its bound, but not for a repeat", async () => {
    const shard = await given({ units: 9 });
    expect(await decide(shard, ["ann"], 2)).toEqual(["w 1-2-0-1"]);
    expect(await decide(shard, ["ann", "bob"], 2)).toEqual(["r 1-2-0-1", Decision.busy]);
    await settle(redis, { shard, epoch: 1, applied: 1 });
    expect(await decide(shard, ["bob"], 2)).toEqual(["w 1-3-0-1"]);
  });

  it("does not sell without its outbox, whose numbers would begin at 0 again", async () => {
    const shard = await given({ units: 3 });
    await redis.del(shardKeys(shard).outbox);
    expect(await decide(shard, ["ann"])).toBe("recovering");
    expect(await left(shard)).toBe(3);
    expect(await fields(shard)).toEqual({});
  });
});

describe("a limit above one", () => {
  it("counts a buyer's units over purchases and answers a key again whatever it asks for", async () => {
    const shard = await given({ units: 20, limit: 3 });
    expect(await decide(shard, ["ann:a:2", "ann:b:1", "ann:c:1"])).toEqual(["w 1-2-0-2", "w 1-2-1-1", "l"]);
    expect(await decide(shard, ["ann:a:1", "ann", "bob", "bob::1", "bob:x:2", "bob:y:1"])).toEqual([
      "r 1-2-0-2",
      "l",
      "w 1-3-0-1",
      "r 1-3-0-1",
      "w 1-3-1-2",
      "l",
    ]);
    expect(await fields(shard)).toEqual({
      ann: "3",
      "ann:a": "1-2-0-2",
      "ann:b": "1-2-1-1",
      bob: "3",
      "bob:": "1-3-0-1",
      "bob:x": "1-3-1-2",
    });
    expect(await left(shard)).toBe(14);
  });

  it("takes all units or none, and a smaller request behind may still win", async () => {
    const shard = await given({ units: 4, limit: 3 });
    expect(await decide(shard, ["ann:a:3", "bob:b:2", "cy", "di"])).toEqual(["w 1-2-0-3", "d", "w 1-2-1-1", "d"]);
    expect(await left(shard)).toBe(0);
  });

  it("refuses more units than the limit as a bad request", async () => {
    const shard = await given({ units: 9, limit: 3 });
    expect(await decide(shard, ["ann:a:4", "ann:b:3"])).toEqual(["m", "w 1-2-0-3"]);
  });
});

it("refuses keys and units where the limit is one, but answers that buyer's repeat first", async () => {
  const shard = await given({ units: 9 });
  expect(await decide(shard, ["ann:a:1", "bob::2", "cy"])).toEqual(["m", "m", "w 1-2-0-1"]);
  expect(await decide(shard, ["cy:a:2", "di::1"])).toEqual(["r 1-2-0-1", "w 1-3-0-1"]);
  expect(await fields(shard)).toEqual({ cy: "1-2-0-1", di: "1-3-0-1" });
});

describe("wrong arguments from our own code", () => {
  it.each([
    ["no purchase", [SALE, 10, 0, ""]],
    ["too many", [SALE, 10, 513, Array.from({ length: 513 }, (_, i) => `b${i}`).join(" ")]],
    ["a count that does not match", [SALE, 10, 2, "ann"]],
    ["a missing argument", [SALE, 10, 1]],
    ["units that are no number", [SALE, 10, 2, "ann bob:k:two"]],
    ["no bound", [SALE, "", 1, "ann"]],
  ])("%s: an error, and nothing is written", async (_, args) => {
    const shard = await given({ units: 3 });
    const keys = shardKeys(shard);
    const { sale, buyers } = saleKeys(shard, SALE);
    const run = reserveScript.run(redis, [keys.open, keys.epoch, keys.applied, keys.outbox, sale, buyers], args);
    await expect(run).rejects.toThrow(/^ERR reserve: /);
    expect(await left(shard)).toBe(3);
    expect(await redis.xlen(keys.outbox)).toBe(1);
  });
});
