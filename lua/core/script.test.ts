import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { openEmptyShard, redisClient, stockSale } from "../../test/harness/open-shard.ts";
import * as scripts from "../index.ts";
import { shardKeys } from "./keys.ts";
import { reserve, reserveScript } from "../stock/reserve.ts";
import { settleScript } from "../shard/settle.ts";
import { onReplica } from "./script.ts";

const saleId = "sale-1";

let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** Number of EVALSHA calls that the server has executed, refused ones included. */
const calls = async (): Promise<number> => {
  const stats = await redis.info("commandstats");
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
};

describe("loading", () => {
  it("loads a script that the server does not have, again after a flush", async () => {
    const opened = await openEmptyShard(redis, 1);
    await stockSale(redis, opened, { saleId, units: 3 });
    await redis.script("FLUSH");
    const answer = await reserve(redis, { shard: 1, saleId, outboxLimit: 10, purchases: ["ann"] });
    expect(answer).toMatchObject({ status: "ok", left: 2 });
    await redis.script("FLUSH");
    await Promise.all(["bob", "cy"].map((uid) => reserve(redis, { shard: 1, saleId, outboxLimit: 10, purchases: [uid] })));
    expect(await redis.xlen(shardKeys(1).outbox)).toBe(4);
  });

  it("sends nothing again for any other error", async () => {
    const script = reserveScript;
    await redis.script("LOAD", script.source);
    const before = await calls();
    await expect(script.run(redis, [], [])).rejects.toThrow(/^ERR reserve/);
    expect(await calls()).toBe(before + 1);
  });
});

/** Passes everything on to the server, but hangs up instead of passing on the answer to an EVALSHA. */
const answerLoser = async (port: number): Promise<{ port: number; scriptsSent(): number; close(): void }> => {
  const open = new Set<Socket>();
  let sent = 0;
  const proxy = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let isLast = false;
    client.on("data", (bytes) => {
      isLast = bytes.toString("latin1").toLowerCase().includes("evalsha");
      if (isLast) sent++;
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => (isLast ? client.destroy() : client.write(bytes)));
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => {});
    }
    client.on("close", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => void proxy.listen(0, "127.0.0.1", resolve));
  return {
    port: (proxy.address() as AddressInfo).port,
    scriptsSent: () => sent,
    close: () => {
      for (const socket of open) socket.destroy();
      proxy.close();
    },
  };
};

it("never sends again when the answer was lost: the change stands once and the caller hears an error", async () => {
  const opened = await openEmptyShard(redis, 2);
  await stockSale(redis, opened, { saleId, units: 3 });
  await redis.script("LOAD", reserveScript.source);
  const loser = await answerLoser(server.port);
  const through = await redisClient(`redis://127.0.0.1:${loser.port}`);
  await expect(reserve(through, { shard: 2, saleId, outboxLimit: 10, purchases: ["ann"] })).rejects.toThrow(/closed|lost/i);
  await until(async () => (await redis.xlen(shardKeys(2).outbox)) === 2, "the purchase to be there");
  expect(loser.scriptsSent()).toBe(1);
  through.disconnect();
  loser.close();
  const again = await reserve(redis, { shard: 2, saleId, outboxLimit: 10, purchases: ["ann"] });
  expect(again).toMatchObject({ left: 2, decisions: [{ decision: "r", reservation: { seq: 2, index: 0 } }] });
});

it("takes only a replica's refusal for an answer", () => {
  expect(onReplica("x")(new Error("READONLY You can't write against a read only replica."))).toBe("x");
  const other = new Error("OOM command not allowed");
  expect(() => onReplica("x")(other)).toThrow(other);
});

describe("a server at maxmemory", () => {
  it("refuses what takes memory and nothing else", async () => {
    const own = await startRedis();
    try {
      const full = await redisClient(own.url);
      const { token, attempt, replicationId } = await openEmptyShard(full, 1);
      await stockSale(full, { shard: 1, epoch: 1 }, { saleId, units: 3 });
      await full.config("SET", "maxmemory", 1);
      const shard = { shard: 1 };
      const oom = /^OOM /;
      expect(await reserve(full, { ...shard, saleId, outboxLimit: 10, purchases: ["ann"] })).toEqual({ status: "refused", by: "OOM" });
      await expect(scripts.grant(full, { ...shard, epoch: 1, saleId, grantId: "more", units: 1 })).rejects.toThrow(oom);
      const lease = { ...shard, token, leaseMs: 60_000 };
      const ok = { status: "ok" };
      expect(await scripts.renewShard(full, { ...lease, untilMs: Date.now() + 60_000, epoch: 1, attempt })).toEqual(ok);
      expect(await scripts.standing(full, { ...shard, saleId, purchases: [{ uid: "ann", key: "" }] })).toMatchObject(ok);
      expect(await scripts.stock(full, { ...shard, saleId })).toMatchObject(ok);
      expect(await scripts.withdraw(full, { ...shard, epoch: 1, saleId, units: 1, receiver: 2, moves: 1 })).toMatchObject(ok);
      expect(await scripts.settle(full, { ...shard, epoch: 1, applied: 2 })).toEqual(ok);
      const paused = { version: 2, state: "paused", limit: 1, opensAtMs: 0, closesAtMs: 1 } as const;
      expect(await scripts.defineSale(full, { ...shard, epoch: 1, saleId, ...paused })).toEqual(ok);
      expect(await scripts.closeShard(full, { ...shard, token, attempt: "next" })).toMatchObject(ok);
      const next = { ...shard, attempt: "next", replicationId };
      expect(await scripts.keepShard(full, { ...next, fromEpoch: 1, upto: "1-2", toEpoch: 2, archived: [] })).toEqual(ok);
      expect(await scripts.openShard(full, { ...next, token, epoch: 2, untilMs: Date.now() + 60_000 })).toEqual(ok);
      expect(await scripts.shardState(full, shard)).toMatchObject({ epoch: 2, isOpen: true });
      expect(await scripts.closeShard(full, { ...shard, token, attempt: "third" })).toMatchObject(ok);
      const swap = { ...next, attempt: "third", toEpoch: 3, sales: [], dropped: [saleId] };
      expect(await scripts.swapShard(full, swap)).toEqual(ok);
      expect(await scripts.releaseLease(full, lease)).toEqual(ok);
      expect(await scripts.acquireLease(full, lease)).toEqual(ok);
      full.disconnect();
    } finally {
      await own.stop();
    }
  });
});

it("hashes the very bytes that it loads", async () => {
  const { source, sha } = settleScript;
  expect(source).toBe(readFileSync(new URL("../snapshots/settle.lua", import.meta.url), "utf8"));
  expect(sha).toBe(createHash("sha1").update(source).digest("hex"));
  expect(await redis.script("LOAD", source)).toBe(sha);
});
