import { Cluster } from "ioredis";
import { Barrier } from "../../../coordinator/messages/client/index.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, StackWorld, startRedisCluster, until, type RedisCluster } from "../../harness/index.ts";
import { shardKeys, shardState } from "#lua";
import { connectShard } from "#program";
import { pino } from "pino";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** Whole sales on a Redis Cluster of three real nodes, several shards on each. */
const SHARDS = 5;
const UNITS = 300;
const BUYERS = 450;

let cluster: RedisCluster;
let world: StackWorld;
beforeAll(async () => {
  cluster = await startRedisCluster(3);
  world = await StackWorld.start({
    environment: { ...environment, REDIS_SHARDS: `${cluster.url}*${SHARDS}`, DOORBUSTER_LEASE_MS: "1500" },
  });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await cluster?.stop();
});

const stateOf = async (shard: number): Promise<{ epoch: number; isOpen: boolean; replicationId: string }> => {
  const redis = connectShard(cluster.url, shard, { name: "test", log: pino({ level: "silent" }), commandTimeoutMs: 2_000 });
  try {
    await until(() => redis.status === "ready", "a connection to the shard", 10_000);
    return await shardState(redis, { shard });
  } finally {
    redis.disconnect();
  }
};

describe("a sale on a Redis Cluster", { timeout: 180_000 }, () => {
  it("has shards on every node, each with all its keys in one slot", async () => {
    const owners = await Promise.all(Array.from({ length: SHARDS }, (_, shard) => cluster.ownerOf(shardKeys(shard).epoch)));
    expect(new Set(owners)).toEqual(new Set([0, 1, 2]));
    for (let shard = 0; shard < SHARDS; shard++) expect((await stateOf(shard)).isOpen).toBe(true);
  });

  it("sells out exactly while a node is killed with -9 and comes back", async () => {
    await world.openSale("killed", UNITS, { shardCount: SHARDS });
    const all = crowd(world, "killed", 0, BUYERS);
    await all.until(50);
    const node = cluster.nodes[1];
    if (node === undefined) throw new Error("no node");
    await node.kill();
    await node.start();
    await all.done;
    expect(winnersOf(all.answers)).toHaveLength(UNITS);
    await confirmedOrders(world, "killed", winnersOf(all.answers));
    await expectSoldOut(world, "killed", UNITS);
    await cluster.settled();
  });

  it("takes a client's barrier through a cluster client, where gid and stock share a hash tag", async () => {
    const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    try {
      for (const tag of ["{a}", "{b}", "{c}", "{d}"]) {
        await client.set(`${tag}:stock`, 2);
        const steps = [`${tag}-1`, `${tag}-1`, `${tag}-2`, `${tag}-3`].map(
          (gid) => async () => Barrier.ofMessage(gid).checkAdjustAmount(client, `${tag}:stock`, -1),
        );
        const answers: string[] = [];
        for (const step of steps) answers.push(await step());
        expect(answers).toEqual(["done", "duplicate", "done", "failure"]);
        expect(await Barrier.ofMessage(`${tag}-1`).queryPrepared(client)).not.toBe("failure");
      }
    } finally {
      client.disconnect();
    }
  });

  it("goes on in a new epoch on the node that a slot was moved to, and loses nothing", async () => {
    const saleId = "moved";
    await world.openSale(saleId, UNITS, { shardCount: 2 });
    const first = crowd(world, saleId, 0, UNITS / 2);
    await first.until(50);
    const [shard = 0] = await world.shardsOf(saleId);
    const key = shardKeys(shard).epoch;
    const before = await stateOf(shard);
    const to = ((await cluster.ownerOf(key)) + 1) % 3;
    await cluster.moveSlot(key, to);
    await first.done;
    const orders = await confirmedOrders(world, saleId, winnersOf(first.answers));
    await until(async () => (await stateOf(shard)).isOpen, "the shard to be open on the other node", 30_000);
    const after = await stateOf(shard);
    expect(after.epoch).toBe(before.epoch + 1);
    expect(after.replicationId).not.toBe(before.replicationId);
    expect(await cluster.ownerOf(key)).toBe(to);
    const second = crowd(world, saleId, UNITS / 2, BUYERS);
    await second.done;
    expect(winnersOf(first.answers).length + winnersOf(second.answers).length).toBe(UNITS);
    await expectStillTheirs(world, saleId, orders);
    await expectSoldOut(world, saleId, UNITS);
  });
});
