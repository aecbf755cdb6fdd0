import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { LONG_MS, openEmptyShard, redisClient, stockSale, type OpenedShard } from "../../test/harness/open-shard.ts";
import { grant } from "../stock/grant.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { renewShard } from "./renew.ts";
import { reserve } from "../stock/reserve.ts";
import { defineSale } from "../stock/sale.ts";
import { shardState } from "./shard-state.ts";
import { standing } from "../stock/standing.ts";
import { stock } from "../stock/stock.ts";
import { withdraw } from "../stock/withdraw.ts";

const saleId = "sale-1";

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

const given = async (openMs?: number): Promise<OpenedShard> => {
  const opened = await openEmptyShard(redis, ++shards, 7, openMs);
  await stockSale(redis, opened, { saleId, units: 3 });
  await reserve(redis, { shard: opened.shard, saleId, outboxLimit: 100, purchases: ["ann"] });
  return opened;
};

const movesOf = async (client: Redis, shard: number): Promise<number> => Number(await client.hget(saleKeys(shard, saleId).sale, "moves"));

/** What every script that has the latch answers. */
const answers = async (client: Redis, { shard, token, attempt }: OpenedShard): Promise<Record<string, string>> => {
  const change = { version: 2, state: "paused", limit: 1, opensAtMs: 0, closesAtMs: 1 } as const;
  return {
    reserve: (await reserve(client, { shard, saleId, outboxLimit: 100, purchases: ["ann", "bob"] })).status,
    grant: (await grant(client, { shard, epoch: 7, saleId, grantId: "more", units: 1 })).status,
    withdraw: (await withdraw(client, { shard, epoch: 7, saleId, units: 1, receiver: 2, moves: await movesOf(client, shard) })).status,
    sale: (await defineSale(client, { shard, epoch: 7, saleId, ...change })).status,
    renew: (await renewShard(client, { shard, token, leaseMs: LONG_MS, untilMs: Date.now() + LONG_MS, epoch: 7, attempt })).status,
    stock: (await stock(client, { shard, saleId })).status,
    standing: (await standing(client, { shard, saleId, purchases: [{ uid: "ann", key: "" }] })).status,
    isOpen: String((await shardState(client, { shard })).isOpen),
  };
};

const all = (status: string): Record<string, string> => ({
  reserve: status,
  grant: status,
  withdraw: status,
  sale: status,
  renew: status,
  stock: status,
  standing: status,
  isOpen: String(status === "ok"),
});

/** Every key of the shard but the lease, whose expiry `renew` may prolong, with its content. */
const dump = async (client: Redis, shard: number): Promise<string> => {
  const keys = (await client.keys(`{s${shard}}:*`)).filter((key) => key !== shardKeys(shard).lease).toSorted();
  const contents = await Promise.all(keys.map((key) => client.dumpBuffer(key)));
  return JSON.stringify(keys.map((key, i) => [key, contents[i]?.toString("base64")]));
};

const refusesAndChangesNothing = async (client: Redis, opened: OpenedShard): Promise<void> => {
  const before = await dump(client, opened.shard);
  expect(await answers(client, opened)).toEqual(all("recovering"));
  expect(await dump(client, opened.shard)).toBe(before);
};

describe("the latch", () => {
  it("lets an open shard change", async () => {
    const opened = await given();
    expect(await answers(redis, opened)).toEqual(all("ok"));
  });

  it("refuses without {sN}:open", async () => {
    const opened = await given();
    await redis.del(shardKeys(opened.shard).open);
    await refusesAndChangesNothing(redis, opened);
  });

  it("refuses when {sN}:open has expired", async () => {
    const opened = await given();
    await redis.pexpire(shardKeys(opened.shard).open, 1);
    await until(async () => (await redis.exists(shardKeys(opened.shard).open)) === 0, "the permission to expire");
    await refusesAndChangesNothing(redis, opened);
  });

  it("refuses when {sN}:open is of another epoch than {sN}:epoch", async () => {
    const opened = await given();
    await redis.set(shardKeys(opened.shard).epoch, "8");
    await refusesAndChangesNothing(redis, opened);
  });

  it("refuses without {sN}:epoch", async () => {
    const opened = await given();
    await redis.del(shardKeys(opened.shard).epoch);
    await refusesAndChangesNothing(redis, opened);
  });

  it.each([
    ["another server's", "7 0123456789012345678901234567890123456789"],
    ["missing", "7"],
    ["empty", "7 "],
  ])("refuses when the replication id is %s", async (_, open) => {
    const opened = await given();
    await redis.set(shardKeys(opened.shard).open, open);
    await refusesAndChangesNothing(redis, opened);
  });

  it("holds for repeats too: what they were told may not be history any more", async () => {
    const { shard } = await given();
    await redis.del(shardKeys(shard).open);
    expect(await reserve(redis, { shard, saleId, outboxLimit: 100, purchases: ["ann"] })).toEqual({ status: "recovering" });
  });

  it("tells a caller of another epoch so, and changes nothing", async () => {
    const { shard, token, attempt } = await given();
    const before = await dump(redis, shard);
    const definition = { version: 2, state: "open", limit: 1, opensAtMs: 0, closesAtMs: 1 } as const;
    for (const epoch of [6, 8]) {
      expect(await grant(redis, { shard, epoch, saleId, grantId: "more", units: 1 })).toEqual({ status: "foreign" });
      expect(await withdraw(redis, { shard, epoch, saleId, units: 1, receiver: 2, moves: 1 })).toEqual({ status: "foreign" });
      expect(await defineSale(redis, { shard, epoch, saleId, ...definition })).toEqual({ status: "foreign" });
      expect(await renewShard(redis, { shard, token, leaseMs: LONG_MS, untilMs: Date.now() + LONG_MS, epoch, attempt })).toEqual({
        status: "foreign",
      });
    }
    expect(await dump(redis, shard)).toBe(before);
  });
});

describe("a server that came back or is not the primary", () => {
  it("refuses after a restart, although {sN}:open is still there", async () => {
    const own = await startRedis();
    try {
      const first = await redisClient(own.url);
      const opened = await openEmptyShard(first, 1, 7);
      await stockSale(first, opened, { saleId, units: 3 });
      first.disconnect();
      await own.kill();
      await own.start();
      const again = await redisClient(own.url);
      const state = await shardState(again, { shard: 1 });
      expect(state).toMatchObject({ epoch: 7, isOpen: false, open: { epoch: 7, replicationId: opened.replicationId } });
      expect(state.replicationId).not.toBe(opened.replicationId);
      await refusesAndChangesNothing(again, opened);
      again.disconnect();
    } finally {
      await own.stop();
    }
  });

  it("refuses as a replica, and again when it is promoted", async () => {
    const opened = await given();
    const other = await startRedis();
    try {
      const replica = await redisClient(other.url);
      await redis.config("SET", "repl-diskless-sync-delay", 0);
      await replica.replicaof("127.0.0.1", server.port);
      // Attaching its first replica may have given the primary a new replication id: what counts is what it has now.
      await until(async () => (await replica.info("replication")).includes("master_link_status:up"), "the replica to be in step");
      const primary = await shardState(redis, { shard: opened.shard });
      await redis.set(shardKeys(opened.shard).open, `7 ${primary.replicationId}`);
      await until(async () => (await replica.get(shardKeys(opened.shard).open)) === `7 ${primary.replicationId}`, "the replica to have it");
      // It knows its primary's replication id as its own: only the role tells.
      expect(await shardState(replica, { shard: opened.shard })).toMatchObject({
        replicationId: primary.replicationId,
        isPrimary: false,
        isOpen: false,
      });
      await refusesAndChangesNothing(replica, opened);
      await replica.replicaof("NO", "ONE");
      expect(await shardState(replica, { shard: opened.shard })).toMatchObject({ isPrimary: true, isOpen: false });
      await refusesAndChangesNothing(replica, opened);
      replica.disconnect();
      // A promoted server that still writes its first append-only file does not let itself be ended in order.
      await other.kill();
    } finally {
      await other.stop();
    }
  });
});

it("lets a missing sale be told only where the shard is open", async () => {
  const { shard } = await given();
  await redis.del(saleKeys(shard, saleId).sale);
  const query = { shard, saleId, purchases: [{ uid: "ann", key: "" }] };
  expect(await standing(redis, query)).toEqual({ status: "unknown" });
  expect(await grant(redis, { shard, epoch: 7, saleId, grantId: "more", units: 1 })).toEqual({ status: "unknown" });
  expect(await withdraw(redis, { shard, epoch: 7, saleId, units: 1, receiver: 2, moves: 1 })).toEqual({ status: "unknown" });
  expect(await redis.exists(saleKeys(shard, saleId).sale)).toBe(0);
  await redis.del(shardKeys(shard).open);
  expect(await standing(redis, query)).toEqual({ status: "recovering" });
});
