import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { openEmptyShard, redisClient, stockSale } from "../../test/harness/open-shard.ts";
import { reserve, type Reserved } from "../stock/reserve.ts";
import { standing, type Standings } from "../stock/standing.ts";
import { saleKeys, shardKeys } from "./keys.ts";
import { refusalIn } from "./refusal.ts";

const shard = 1;
const saleId = "sale";
const UNITS = 10_000;

let server: RedisServer;
let redis: Redis;
/** the same server; what it is told concerns the other one alone */
let operator: Redis;
beforeAll(async () => {
  server = await startRedis({ debug: true });
  [redis, operator] = await Promise.all([redisClient(server.url), redisClient(server.url)]);
  await stockSale(redis, await openEmptyShard(redis, shard), { saleId, units: UNITS });
  expect(await buy("holder")).toMatchObject({ status: "ok" });
});
afterAll(async () => {
  redis.disconnect();
  operator.disconnect();
  await server.stop();
});

const buy = (...purchases: string[]): Promise<Reserved> => reserve(redis, { shard, saleId, outboxLimit: 100_000, purchases });
const look = (): Promise<Standings> => standing(redis, { shard, saleId, purchases: [{ uid: "holder", key: "" }] });
/** Everything that a purchase changes. */
const held = async (): Promise<unknown> => [
  await operator.call("XINFO", "STREAM", shardKeys(shard).outbox),
  await operator.hgetall(saleKeys(shard, saleId).sale),
  await operator.hgetall(saleKeys(shard, saleId).buyers),
];

interface State {
  readonly word: string;
  readonly status: "refused" | "recovering";
  readonly begin: () => Promise<unknown>;
  readonly end: () => Promise<unknown>;
}
const config = (name: string, value: string | number) => (): Promise<unknown> => operator.config("SET", name, value);

const states: readonly State[] = [
  { word: "OOM", status: "refused", begin: config("maxmemory", 1), end: config("maxmemory", 0) },
  { word: "NOREPLICAS", status: "refused", begin: config("min-replicas-to-write", 1), end: config("min-replicas-to-write", 0) },
  {
    word: "NOPERM",
    status: "recovering",
    begin: () => operator.call("ACL", "SETUSER", "default", "-evalsha"),
    end: () => operator.call("ACL", "SETUSER", "default", "+@all"),
  },
  {
    word: "BUSY",
    status: "recovering",
    begin: async () => {
      await operator.config("SET", "busy-reply-threshold", 1);
      const endless = await redisClient(server.url);
      void endless
        .eval("while true do end", 0)
        .catch(() => undefined)
        .finally(() => endless.disconnect());
      await until(
        () =>
          operator.ping().then(
            () => false,
            (error: Error) => error.message.startsWith("BUSY"),
          ),
        "a script that does not end",
      );
    },
    end: async () => {
      await operator.script("KILL");
      await until(
        () =>
          operator.ping().then(
            () => true,
            () => false,
          ),
        "the script to be gone",
      );
    },
  },
];

describe("a server that does not begin", () => {
  it.each(states)("$word: nothing ran, and it is an answer", async ({ word, status, begin, end }) => {
    const before = await held();
    await begin();
    try {
      expect(await buy("holder", "ann")).toEqual({ status, by: word });
      expect(await look()).toMatchObject(
        status === "refused" ? { status: "ok", standings: [{ state: "reserved" }] } : { status, by: word },
      );
    } finally {
      await end();
    }
    expect(await held()).toEqual(before);
  });

  it("MISCONF: it cannot save", async () => {
    const before = await held();
    // a snapshot ends with a rename, which no folder lets be
    mkdirSync(join(server.dir, "dump.rdb"));
    await operator.config("SET", "save", "3600 1");
    try {
      await operator.bgsave();
      await until(async () => (await operator.info("persistence")).includes("rdb_last_bgsave_status:err"), "a snapshot to fail");
      expect(await buy("holder", "ann")).toEqual({ status: "refused", by: "MISCONF" });
      expect(await look()).toMatchObject({ status: "ok", standings: [{ state: "reserved" }] });
    } finally {
      await operator.config("SET", "save", "");
      rmdirSync(join(server.dir, "dump.rdb"));
    }
    expect(await held()).toEqual(before);
  });

  it("a replica answers as a shard that recovers", async () => {
    await operator.replicaof("127.0.0.1", 1);
    try {
      expect(await buy("ann")).toEqual({ status: "recovering" });
      expect(await look()).toEqual({ status: "recovering" });
      await operator.config("SET", "replica-serve-stale-data", "no");
      expect(await look()).toEqual({ status: "recovering", by: "MASTERDOWN" });
    } finally {
      await operator.config("SET", "replica-serve-stale-data", "yes");
      await operator.replicaof("NO", "ONE");
    }
  });
});

describe("an error that proves nothing", () => {
  it("is one that a command met inside the script: what stood before it stands", async () => {
    const own = 2;
    await stockSale(redis, await openEmptyShard(redis, own), { saleId, units: 5 });
    const batch = { shard: own, saleId, outboxLimit: 10, purchases: ["ann"] };
    await operator.call("ACL", "SETUSER", "default", "-hset");
    try {
      await expect(reserve(redis, batch)).rejects.toThrow(/ script: [0-9a-f]{40}, on /);
    } finally {
      await operator.call("ACL", "SETUSER", "default", "+@all");
    }
    // the entry of the purchase: not to be told that nothing was taken
    expect(await operator.xlen(shardKeys(own).outbox)).toBe(2);
  });

  it.each([
    "Connection is closed.",
    "Command timed out",
    "ERR reserve: not a packed purchase",
    "BUSYGROUP x",
    "INVARIANT stock: x",
    "",
    // as later versions of Redis say the same
    `NOPERM User default has no permissions to run the 'hset' command script: ${"a".repeat(40)}, on @user_script:256.`,
  ])("is %j", (text) => expect(refusalIn(new Error(text))).toBeUndefined());

  it.each(["LOADING Redis is loading the dataset in memory", "CLUSTERDOWN The cluster is down", "MOVED 1 a:1", "ASK 1 a:1", "TRYAGAIN x"])(
    "is not %j",
    (text) => expect(refusalIn(new Error(text))).toMatchObject({ reads: false }),
  );
});

it("a script that has begun is not refused midway by what it takes itself", async () => {
  const used = Number(/^used_memory:(\d+)/m.exec(await operator.info("memory"))?.[1]);
  const uids = (from: number): string[] => Array.from({ length: 400 }, (_, n) => `${String(from + n).padStart(8, "0")}${"x".repeat(56)}`);
  const room = 30_000;
  await operator.config("SET", "maxmemory", used + room);
  let batches = 0;
  let answer: Reserved;
  do answer = await buy(...uids(batches++ * 400));
  while (answer.status === "ok" && batches < 3);
  await operator.config("SET", "maxmemory", 0);
  const fields = await operator.hlen(saleKeys(shard, saleId).buyers);
  expect(answer).toEqual({ status: "refused", by: "OOM" });
  // whole batches, and the holder
  expect(fields % 400).toBe(1);
});
