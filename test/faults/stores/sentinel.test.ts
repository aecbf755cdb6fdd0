import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, StackWorld, startSentinels, until, type SentinelWorld } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectKept, winnersOf } from "../../harness/store-crowd.ts";

/** Two shards on a primary that three real sentinels name, with a replica. */
const UNITS = 300;
const BUYERS = 450;
const SHARDS = 2;

let redis: SentinelWorld;
let world: StackWorld;
beforeAll(async () => {
  redis = await startSentinels();
  world = await StackWorld.start({
    environment: { ...environment, REDIS_SHARDS: `${redis.url}*${SHARDS}`, DOORBUSTER_LEASE_MS: "1500", DOORBUSTER_OPEN_MS: "2000" },
  });
}, 120_000);
afterAll(async () => {
  await world?.close();
  await redis?.stop();
});

const epochs = async (): Promise<readonly number[]> => (await world.shards()).map(({ epoch }) => epoch);

describe("a sale on what sentinels name", { timeout: 120_000 }, () => {
  it("goes on in a new epoch on the promoted replica, sells out exactly, and the old primary comes back as its replica", async () => {
    const before = await epochs();
    const old = await redis.primary();
    const server = redis.servers[old as 0 | 1];
    await world.openSale("failover", UNITS, { shardCount: SHARDS });
    const early = crowd(world, "failover", 0, 60);
    await early.done;
    const orders = await confirmedOrders(world, "failover", winnersOf(early.answers));
    const all = crowd(world, "failover", 60, BUYERS);
    await all.until(20);
    await server.kill();
    await until(async () => (await redis.primary()) !== old, "the sentinels to name the replica", 30_000);
    await server.start();
    await all.done;
    expect((await epochs()).map((epoch, shard) => epoch > (before[shard] ?? 0))).toEqual([true, true]);
    // what the replica had not yet got is gone with what was answered `reserved`; nothing that was confirmed
    await expectKept(world, "failover", { units: UNITS, buyers: BUYERS, before: orders });
    await until(async () => (await redis.roleOf(old)) === "slave", "the old primary to follow the new one", 30_000);
  });
});
