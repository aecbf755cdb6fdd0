import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openSaleSchema, type OpenSale } from "#protocol";
import { acquireLease, closeShard, openShard, readOutbox, saleKeys, shardKeys, stock, swapShard } from "#lua";
import { freshDatabase, startRedis, type RedisServer, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { addUnits, changeSale, openSale } from "./commands.ts";
import { postgresSweepStore, redisSweepShards } from "./sweep-stores.ts";
import { Sweep } from "./sweep.ts";

let empty: TestDatabase;
let database: Database;
let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  [empty, server] = await Promise.all([freshDatabase(), startRedis()]);
  database = await connectDatabase({ url: empty.url, pool: 4, name: "sweep-test" });
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
  await database.close();
  await empty.drop();
});

let nowMs = 0;
let faults: unknown[] = [];
const clock = { monotonicMs: () => nowMs, sleep: () => Promise.resolve() };
const makeSweep = (): Sweep =>
  new Sweep({
    store: postgresSweepStore(database.sql),
    shards: redisSweepShards(() => redis),
    clock,
    fault: (error) => faults.push(error),
  });

/** Begins an epoch on shard 0, empty, as coordinator and worker would. */
const begin = async (epoch: number): Promise<void> => {
  const attempt = `attempt-${epoch}`;
  await acquireLease(redis, { shard: 0, token: "me", leaseMs: 60_000 });
  const closed = await closeShard(redis, { shard: 0, token: "me", attempt });
  if (closed.status !== "ok") throw new Error(closed.status);
  const { replicationId } = closed;
  await swapShard(redis, {
    shard: 0,
    attempt,
    replicationId,
    toEpoch: epoch,
    sales: [],
    dropped: await redis.smembers(shardKeys(0).sales),
  });
  await openShard(redis, { shard: 0, token: "me", attempt, replicationId, epoch, untilMs: Date.now() + 60_000 });
  await database.sql("UPDATE shards SET epoch = ?, applied = 0 WHERE shard = 0", [epoch]);
};

const definition: OpenSale = openSaleSchema.parse({
  id: "chair",
  title: "A chair",
  units: 10,
  opensAtMs: 1_000_000_000_000,
  closesAtMs: 4_000_000_000_000,
});
const view = () => stock(redis, { shard: 0, saleId: "chair" });
const entries = async () => (await readOutbox(redis, { shard: 0, after: { epoch: 1, seq: 0 }, count: 100 })).map(({ entry }) => entry);

beforeEach(async () => {
  await redis.flushall();
  await database.sql("TRUNCATE grants, sale_shards, sales, shards CASCADE");
  await ensureShards(database.sql, 1);
  nowMs = 0;
  faults = [];
  await openSale(database, 1, definition);
});

describe("the sweep", () => {
  it("brings a sale and then its units to an open shard, once", async () => {
    await begin(1);
    const sweep = makeSweep();
    await sweep.round();
    expect(await view()).toMatchObject({ left: 10, moves: 1, version: 1, state: "open", limit: 1 });
    await Promise.all([sweep.round(), makeSweep().round(), sweep.round()]);
    expect(await view()).toMatchObject({ left: 10, moves: 1 });
    expect(await entries()).toMatchObject([{ kind: "g", seq: 1, saleId: "chair", grantId: "opening", units: 10 }]);
    expect(faults).toEqual([]);
  });

  it("brings the other sales and their units where Redis refuses one: the key of another type, a sale that was closed and is open", async () => {
    await begin(1);
    for (const id of ["lamp", "desk", "sofa"]) await openSale(database, 1, { ...definition, id });
    await redis.set(saleKeys(0, "chair").sale, "no hash");
    const sweep = makeSweep();
    await sweep.round();
    for (const saleId of ["lamp", "desk", "sofa"]) expect(await stock(redis, { shard: 0, saleId })).toMatchObject({ left: 10 });
    expect(faults.length).toBeGreaterThan(0);
    expect(String(faults[0])).toContain("WRONGTYPE");
    await redis.hset(saleKeys(0, "desk").sale, "state", "closed");
    await database.sql("UPDATE sales SET version = version + 1");
    await changeSale(database, { id: "sofa", state: "paused" });
    await sweep.round();
    expect(await stock(redis, { shard: 0, saleId: "sofa" })).toMatchObject({ state: "paused" });
    expect(faults.map(String).some((text) => text.includes("sale_state"))).toBe(true);
  });

  it("does nothing to a shard that has no epoch or is not open, and comes back when it is", async () => {
    const sweep = makeSweep();
    await sweep.round();
    expect(await redis.dbsize()).toBe(0);
    await begin(1);
    await redis.del(shardKeys(0).open);
    await sweep.round();
    expect(await redis.exists(saleKeys(0, "chair").sale)).toBe(0);
    await begin(2);
    await sweep.round();
    expect(await view()).toMatchObject({ epoch: 2, left: 10 });
  });

  it("brings every change of the definition, and none of an older epoch", async () => {
    await begin(1);
    const sweep = makeSweep();
    await sweep.round();
    await changeSale(database, { id: "chair", state: "paused" });
    await sweep.round();
    expect(await view()).toMatchObject({ state: "paused", version: 2, left: 10 });
    await begin(2);
    await database.sql("UPDATE shards SET epoch = 1 WHERE shard = 0");
    await sweep.round();
    expect(await redis.exists(saleKeys(0, "chair").sale)).toBe(0);
  });

  it("brings a sale again in every epoch, also one whose units were all taken in", async () => {
    await begin(1);
    const sweep = makeSweep();
    await sweep.round();
    await database.sql("UPDATE grants SET state = 'done'");
    await begin(2);
    await sweep.round();
    expect(await view()).toMatchObject({ epoch: 2, version: 1, left: 0 });
  });

  it("brings a sale again that Redis turns out not to have", async () => {
    await begin(1);
    const sweep = makeSweep();
    await sweep.round();
    await redis.del(saleKeys(0, "chair").sale, saleKeys(0, "chair").grants);
    await sweep.round();
    await sweep.round();
    expect(await view()).toMatchObject({ left: 10 });
  });

  it("keeps a unit of a sale that was flagged until no gateway can believe the flag; counted from when it was seen", async () => {
    await begin(1);
    const sweep = makeSweep();
    await sweep.round();
    await database.sql("UPDATE sales SET sold_out_version = returns_seq, ever_sold_out = true");
    await addUnits(database, { saleId: "chair", grantId: "more", units: 5 });
    // Recorded long ago by Postgres's clock, but its transaction may have been slow to commit.
    await database.sql("UPDATE grants SET created_at = now() - interval '1 hour'");
    nowMs = 10_000;
    await sweep.round();
    nowMs += 600;
    await sweep.round();
    expect(await view()).toMatchObject({ left: 10 });
    nowMs += 1;
    await sweep.round();
    expect(await view()).toMatchObject({ left: 15 });
  });

  it("does not let units of one sale wait for another's flag", async () => {
    await begin(1);
    await database.sql("UPDATE sales SET ever_sold_out = true");
    await addUnits(database, { saleId: "chair", grantId: "more", units: 5 });
    await makeSweep().round();
    expect(await view()).toMatchObject({ left: 10 });
  });

  it("tells Redis again how far Postgres is, but not after a wall", async () => {
    await begin(1);
    const sweep = makeSweep();
    // what is settled must have been there
    for (let seq = 1; seq <= 3; seq += 1) await redis.xadd(shardKeys(0).outbox, `1-${seq}`, "k", "o");
    await database.sql("UPDATE shards SET applied = 3, wall = true WHERE shard = 0");
    await sweep.round();
    expect(await redis.get(shardKeys(0).applied)).toBe("1-0");
    await database.sql("UPDATE shards SET wall = false WHERE shard = 0");
    await sweep.round();
    expect(await redis.get(shardKeys(0).applied)).toBe("1-3");
  });

  it("of one shard is not held up by another's Redis", async () => {
    await ensureShards(database.sql, 2);
    await database.sql("UPDATE shards SET epoch = 1, applied = 1 WHERE shard = 1");
    await begin(1);
    const sweep = new Sweep({
      store: postgresSweepStore(database.sql),
      shards: redisSweepShards((shard) => (shard === 0 ? redis : undefined)),
      clock,
      fault: (error) => faults.push(error),
    });
    await sweep.round();
    expect(await view()).toMatchObject({ left: 10 });
    expect(faults).toHaveLength(1);
  });
});
