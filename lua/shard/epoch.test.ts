import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { LONG_MS, openEmptyShard, redisClient, stockSale, type OpenedShard } from "../../test/harness/open-shard.ts";
import { closeShard } from "./close.ts";
import { keepShard } from "./keep.ts";
import { saleKeys, shardKeys, stagedKeys } from "../core/keys.ts";
import { acquireLease } from "./lease.ts";
import { releaseLease } from "./release.ts";
import { openShard } from "./open.ts";
import { listSales, readOutbox } from "./outbox.ts";
import { renewShard } from "./renew.ts";
import { reserve } from "../stock/reserve.ts";
import { settle } from "./settle.ts";
import { shardState } from "./shard-state.ts";
import { stock } from "../stock/stock.ts";
import { swapShard, type SwapShard } from "./swap.ts";

let server: RedisServer;
let redis: Redis;
let shards = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const OTHER_SERVER = "0123456789012345678901234567890123456789";
const buy = (shard: number, saleId: string, ...purchases: string[]) => reserve(redis, { shard, saleId, outboxLimit: 1_000, purchases });

/** Epoch 4 with the sales a and b, four entries, of which `applied` are settled; then closed by the attempt `next`. */
const closedShard = async (applied: number): Promise<OpenedShard & { last: string }> => {
  const opened = await openEmptyShard(redis, ++shards, 4);
  const { shard, token } = opened;
  await stockSale(redis, opened, { saleId: "a", units: 5 });
  await stockSale(redis, opened, { saleId: "b", units: 5 });
  await buy(shard, "a", "ann", "bob");
  await buy(shard, "b", "cy");
  if (applied > 0) await settle(redis, { shard, epoch: 4, applied });
  const closed = await closeShard(redis, { shard, token, attempt: "next" });
  if (closed.status !== "ok") throw new Error(closed.status);
  return { ...opened, attempt: "next", last: closed.last };
};

const open = (shard: OpenedShard, epoch: number) => openShard(redis, { ...shard, epoch, untilMs: Date.now() + LONG_MS });
const state = (shard: number) => shardState(redis, { shard });

/** The first entry of a new epoch must be seq 1. */
const firstPosition = async ({ shard }: OpenedShard, saleId: string): Promise<unknown> => {
  const answer = await buy(shard, saleId, "zoe");
  return answer.status === "ok" ? answer.position : answer.status;
};

describe("lease", () => {
  it("has one holder until it is released or expires", async () => {
    const shard = ++shards;
    expect(await acquireLease(redis, { shard, token: "one", leaseMs: LONG_MS })).toEqual({ status: "ok" });
    expect(await acquireLease(redis, { shard, token: "two", leaseMs: LONG_MS })).toEqual({ status: "not_holder" });
    expect(await acquireLease(redis, { shard, token: "one", leaseMs: 1_000 })).toEqual({ status: "ok" });
    expect(await redis.pttl(shardKeys(shard).lease)).toBeLessThanOrEqual(1_000);
    expect(await releaseLease(redis, { shard, token: "two" })).toEqual({ status: "not_holder" });
    expect((await state(shard)).leaseToken).toBe("one");
    expect(await releaseLease(redis, { shard, token: "one" })).toEqual({ status: "ok" });
    expect(await acquireLease(redis, { shard, token: "two", leaseMs: 1 })).toEqual({ status: "ok" });
    await until(async () => (await acquireLease(redis, { shard, token: "one", leaseMs: 1 })).status === "ok", "the lease to expire");
  });
});

describe("close", () => {
  it("freezes the outbox, names the attempt and tells what is there", async () => {
    const shard = await closedShard(1);
    expect(shard.last).toBe("4-4");
    expect(await buy(shard.shard, "a", "di")).toEqual({ status: "recovering" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 4, open: null, isOpen: false, attempt: "next", applied: "4-1", last: "4-4" });
    const beforeOn = { replicationId: shard.replicationId, hasReplicas: false };
    const again = await closeShard(redis, { ...shard, attempt: "third" });
    expect(again).toEqual({ status: "ok", epoch: 4, last: "4-4", replicationId: shard.replicationId, before: "next", beforeOn });
  });

  it("tells an empty server as epoch 0", async () => {
    const shard = ++shards;
    await acquireLease(redis, { shard, token: "one", leaseMs: LONG_MS });
    const closed = await closeShard(redis, { shard, token: "one", attempt: "a" });
    expect(closed).toMatchObject({ status: "ok", epoch: 0, last: "0-0", before: "", beforeOn: undefined });
  });

  it("is the lease holder's only", async () => {
    const opened = await openEmptyShard(redis, ++shards);
    expect(await closeShard(redis, { shard: opened.shard, token: "rival", attempt: "a" })).toEqual({ status: "not_holder" });
    expect(await state(opened.shard)).toMatchObject({ isOpen: true, attempt: opened.attempt });
  });

  it("is refused on a replica", async () => {
    const other = await startRedis();
    try {
      const replica = await redisClient(other.url);
      await replica.replicaof("127.0.0.1", server.port);
      expect(await closeShard(replica, { shard: 1, token: "one", attempt: "a" })).toEqual({ status: "not_primary" });
      replica.disconnect();
    } finally {
      await other.stop();
    }
  });
});

describe("keep", () => {
  const keep = (shard: OpenedShard & { last: string }, change: Partial<Parameters<typeof keepShard>[1]> = {}) =>
    keepShard(redis, { ...shard, fromEpoch: 4, upto: shard.last, toEpoch: 5, archived: [], ...change });

  it("begins the next epoch on the same state, with an empty outbox whose first entry is seq 1", async () => {
    const shard = await closedShard(4);
    expect(await keep(shard)).toEqual({ status: "ok" });
    expect(await keep(shard)).toEqual({ status: "duplicate" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 5, isOpen: false, applied: "5-0", last: "5-0", outboxLength: 0 });
    expect(await open(shard, 5)).toEqual({ status: "ok" });
    expect(await firstPosition(shard, "a")).toEqual({ epoch: 5, seq: 1 });
    expect(await stock(redis, { shard: shard.shard, saleId: "a" })).toMatchObject({ epoch: 5, left: 2, moves: 1, movesApplied: true });
    const repeats = await buy(shard.shard, "a", "ann", "zoe");
    expect(repeats).toMatchObject({ decisions: [{ decision: "c" }, { decision: "r" }] });
  });

  it("empties the outbox of entries that nobody settled", async () => {
    const shard = await closedShard(0);
    expect(await keep(shard, { toEpoch: 9 })).toEqual({ status: "ok" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 9, last: "9-0", outboxLength: 0 });
    expect(await open(shard, 9)).toEqual({ status: "ok" });
    expect(await firstPosition(shard, "b")).toEqual({ epoch: 9, seq: 1 });
  });

  it.each([
    ["another attempt closed it since", { attempt: "attempt-4" }],
    ["the server is another", { replicationId: OTHER_SERVER }],
    ["it is in another epoch", { fromEpoch: 3 }],
    ["something was appended since", { upto: "4-3" }],
  ])("stops when %s", async (_, change) => {
    const shard = await closedShard(4);
    expect(await keep(shard, change)).toEqual({ status: "overtaken" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 4, applied: "4-4", last: "4-4" });
  });
});

describe("swap", () => {
  const stage = async (shard: OpenedShard, saleId: string, buyers: Record<string, string>, grants: string[]): Promise<void> => {
    const keys = stagedKeys(shard.shard, shard.attempt, saleId);
    const counters = { left: 7, limit: 1, moves: grants.length === 0 ? 0 : 1, moved_at: "5-0" };
    await redis.hset(keys.sale, { version: 3, state: "open", opens_at: 0, closes_at: 9e15, ...counters });
    if (Object.keys(buyers).length > 0) await redis.hset(keys.buyers, buyers);
    if (grants.length > 0) await redis.sadd(keys.grants, grants);
    for (const key of Object.values(keys)) await redis.pexpire(key, LONG_MS);
  };
  const swap = (shard: OpenedShard, change: Partial<SwapShard> = {}) =>
    swapShard(redis, {
      ...shard,
      toEpoch: 5,
      sales: [
        { saleId: "a", buyers: 1, grants: 2 },
        { saleId: "c", buyers: 0, grants: 0 },
      ],
      dropped: ["b"],
      ...change,
    });
  const stagedShard = async (): Promise<OpenedShard> => {
    const shard = await closedShard(2);
    await stage(shard, "a", { old: "2-1-0-1" }, ["opening", "more"]);
    await stage(shard, "c", {}, []);
    return shard;
  };

  it("replaces every sale key, leaves an empty outbox whose first entry is seq 1, and spares messages", async () => {
    const shard = await stagedShard();
    const tag = `{s${shard.shard}}`;
    await redis.zadd(`${tag}:due`, 1, "gid");
    await redis.hset(`${tag}:message:gid`, { state: "prepared" });
    expect(await swap(shard)).toEqual({ status: "ok" });
    expect(await swap(shard)).toEqual({ status: "duplicate" });
    expect((await redis.keys(`${tag}:*`)).toSorted()).toEqual(
      [
        "applied",
        "attempt",
        "buyers:a",
        "due",
        "epoch",
        "grants:a",
        "lease",
        "message:gid",
        "outbox",
        "sale:a",
        "sale:c",
        "sales",
        "server",
      ].map((name) => `${tag}:${name}`),
    );
    for (const key of [...Object.values(saleKeys(shard.shard, "a")), saleKeys(shard.shard, "c").sale])
      expect(await redis.pttl(key)).toBe(-1);
    expect((await listSales(redis, shard.shard)).toSorted()).toEqual(["a", "c"]);
    expect(await redis.hgetall(saleKeys(shard.shard, "a").buyers)).toEqual({ old: "2-1-0-1" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 5, isOpen: false, applied: "5-0", last: "5-0", outboxLength: 0 });
    expect(await open(shard, 5)).toEqual({ status: "ok" });
    expect(await firstPosition(shard, "a")).toEqual({ epoch: 5, seq: 1 });
    expect(await readOutbox(redis, { shard: shard.shard, after: { epoch: 5, seq: 0 }, count: 10 })).toHaveLength(1);
    expect(await buy(shard.shard, "a", "ann", "old")).toMatchObject({ left: 5, decisions: [{ decision: "w" }, { decision: "c" }] });
    expect(await stock(redis, { shard: shard.shard, saleId: "c" })).toMatchObject({ status: "ok", left: 7, moves: 0, buyers: 0 });
  });

  it("leaves no old buyer or grant where the sale has none any more", async () => {
    const shard = await stagedShard();
    await stage(shard, "b", {}, []);
    const sales = [
      { saleId: "a", buyers: 1, grants: 2 },
      { saleId: "b", buyers: 0, grants: 0 },
    ];
    expect(await swap(shard, { sales, dropped: [] })).toEqual({ status: "ok" });
    expect(await open(shard, 5)).toEqual({ status: "ok" });
    expect(await stock(redis, { shard: shard.shard, saleId: "b" })).toMatchObject({ left: 7, buyers: 0 });
    expect(await redis.exists(saleKeys(shard.shard, "b").grants)).toBe(0);
  });

  it.each([
    [
      "a buyer is missing",
      {
        sales: [
          { saleId: "a", buyers: 2, grants: 2 },
          { saleId: "c", buyers: 0, grants: 0 },
        ],
      },
    ],
    [
      "a grant is missing",
      {
        sales: [
          { saleId: "a", buyers: 1, grants: 3 },
          { saleId: "c", buyers: 0, grants: 0 },
        ],
      },
    ],
    [
      "a sale is not staged",
      {
        sales: [
          { saleId: "a", buyers: 1, grants: 2 },
          { saleId: "d", buyers: 0, grants: 0 },
        ],
      },
    ],
    ["a sale of the shard is neither staged nor dropped", { dropped: [] }],
  ])("changes nothing when %s", async (_, change) => {
    const shard = await stagedShard();
    expect(await swap(shard, change)).toEqual({ status: "incomplete" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 4, applied: "4-2", last: "4-4" });
    expect((await listSales(redis, shard.shard)).toSorted()).toEqual(["a", "b"]);
    expect(await redis.hlen(saleKeys(shard.shard, "a").buyers)).toBe(2);
    expect(await swap(shard)).toEqual({ status: "ok" });
  });

  it.each([
    ["another attempt closed it since", { attempt: "attempt-4" }],
    ["the server is another", { replicationId: OTHER_SERVER }],
    ["it is in a later epoch", { toEpoch: 3 }],
  ])("stops when %s", async (_, change) => {
    const shard = await stagedShard();
    expect(await swap(shard, change)).toEqual({ status: "overtaken" });
    expect(await state(shard.shard)).toMatchObject({ epoch: 4, last: "4-4" });
  });
});

describe("open", () => {
  it("lets the attempt that closed it sell, again and again", async () => {
    const shard = await closedShard(4);
    await redis.pexpire(shardKeys(shard.shard).lease, LONG_MS);
    expect(await open(shard, 4)).toEqual({ status: "ok" });
    expect(await open(shard, 4)).toEqual({ status: "ok" });
    expect(await state(shard.shard)).toMatchObject({ isOpen: true, open: { epoch: 4, replicationId: shard.replicationId } });
  });

  it.each([
    ["another attempt closed it since", { attempt: "attempt-4" }],
    ["the server is another", { replicationId: OTHER_SERVER }],
    ["it is in another epoch", { epoch: 5 }],
    ["the lease is another's", { token: "rival" }],
  ])("is refused when %s", async (_, change) => {
    const shard = await closedShard(4);
    expect(await openShard(redis, { ...shard, epoch: 4, untilMs: Date.now() + LONG_MS, ...change })).toEqual({ status: "overtaken" });
    expect((await state(shard.shard)).open).toBeNull();
  });

  it("is refused when it comes too late", async () => {
    const shard = await closedShard(4);
    const { nowMs } = await state(shard.shard);
    expect(await openShard(redis, { ...shard, epoch: 4, untilMs: nowMs })).toEqual({ status: "overtaken" });
    expect((await state(shard.shard)).open).toBeNull();
  });

  it("is refused where the outbox is gone", async () => {
    const shard = await closedShard(4);
    await redis.del(shardKeys(shard.shard).outbox);
    expect(await open(shard, 4)).toEqual({ status: "overtaken" });
  });
});

describe("renew", () => {
  const renew = (shard: OpenedShard, change: Partial<Parameters<typeof renewShard>[1]> = {}) =>
    renewShard(redis, { ...shard, leaseMs: LONG_MS, untilMs: Date.now() + LONG_MS, ...change });
  const expiries = async (shard: OpenedShard): Promise<string> => {
    const { lease, open: openKey } = shardKeys(shard.shard);
    const words = await Promise.all([redis.pttl(lease), redis.pttl(openKey)]);
    return words.map((ms) => (ms > 50_000 ? "long" : "short")).join(" ");
  };
  const expiring = async (): Promise<OpenedShard> => {
    const shard = await openEmptyShard(redis, ++shards, 4, 50_000);
    await redis.pexpire(shardKeys(shard.shard).lease, 50_000);
    return shard;
  };

  it("prolongs lease and permission together", async () => {
    const shard = await expiring();
    expect(await renew(shard)).toEqual({ status: "ok" });
    expect(await expiries(shard)).toBe("long long");
  });

  it("takes nothing of the permission when it comes late", async () => {
    const shard = await expiring();
    const { nowMs } = await state(shard.shard);
    const until = () => redis.pexpiretime(shardKeys(shard.shard).open);
    const before = await until();
    for (const untilMs of [nowMs - 1, before - 1_000]) expect(await renew(shard, { untilMs })).toEqual({ status: "ok" });
    expect(await until()).toBe(before);
    expect((await state(shard.shard)).isOpen).toBe(true);
  });

  it("prolongs nothing for somebody else", async () => {
    const shard = await expiring();
    expect(await renew(shard, { token: "rival" })).toEqual({ status: "not_holder" });
    expect(await expiries(shard)).toBe("short short");
  });

  it("prolongs only the lease for another epoch or attempt", async () => {
    const shard = await expiring();
    expect(await renew(shard, { epoch: 5 })).toEqual({ status: "foreign" });
    expect(await expiries(shard)).toBe("long short");
    expect(await renew(shard, { attempt: "rival" })).toEqual({ status: "foreign" });
    expect(await expiries(shard)).toBe("long short");
  });

  it("never makes a permission", async () => {
    const shard = await expiring();
    await redis.del(shardKeys(shard.shard).open);
    expect(await renew(shard)).toEqual({ status: "recovering" });
    expect((await state(shard.shard)).open).toBeNull();
  });
});
