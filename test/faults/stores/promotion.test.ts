import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shardState } from "#lua";
import { environment, StackWorld, FaultProxy, startRedis, until, type RedisServer, type BuyAnswer } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectKept, winnersOf } from "../../harness/store-crowd.ts";

/**
 * A replica that lags is promoted while the old primary lives, cut off with a gateway that still reaches it: the worst
 * that a failover can do.
 */
const UNITS = 200;
const BUYERS = 320;
const SHARD = { shard: 0 };

let primary: RedisServer;
let replica: RedisServer;
/** the shard's address: leads to the primary, later to the promoted replica */
let address: FaultProxy;
/** the gateway's way to the same */
let gatewayWay: FaultProxy;
/** between primary and replica */
let replication: FaultProxy;
let world: StackWorld;
const clients: Redis[] = [];

const client = (server: RedisServer): Redis => {
  const redis = new Redis(server.url, { retryStrategy: () => 50 });
  redis.on("error", () => undefined);
  clients.push(redis);
  return redis;
};
const info = async (redis: Redis): Promise<string> => redis.info("replication");

beforeAll(async () => {
  [primary, replica] = await Promise.all([startRedis(), startRedis()]);
  address = await FaultProxy.open(primary.port);
  gatewayWay = await FaultProxy.open(primary.port);
  replication = await FaultProxy.open(primary.port);
  await client(replica).replicaof("127.0.0.1", replication.port);
  await until(async () => (await info(client(replica))).includes("master_link_status:up"), "the replica to follow", 20_000);
  world = await StackWorld.start({
    environment: { ...environment, REDIS_SHARDS: `redis://127.0.0.1:${address.port}` },
    route: (program, store, url) => Promise.resolve(program === "gateway" && store.startsWith("redis") ? gatewayWay.through(url) : url),
  });
}, 180_000);
afterAll(async () => {
  await world?.close();
  for (const redis of clients) redis.disconnect();
  await Promise.all([address, gatewayWay, replication].map((proxy) => proxy?.close()));
  await Promise.all([primary?.stop(), replica?.stop()]);
});

describe("a replica that lags is promoted", { timeout: 240_000 }, () => {
  it("and the old primary stops selling before the new one begins; what was confirmed stays", async () => {
    const saleId = "failover";
    await world.openSale(saleId, UNITS);
    const early = crowd(world, saleId, 0, 60);
    await early.done;
    const synced = await confirmedOrders(world, saleId, winnersOf(early.answers));

    // the replica hears nothing any more; what is confirmed from here on it has not
    replication.set({ kind: "blackHole" });
    const lagging = crowd(world, saleId, 60, 100);
    await lagging.done;
    const before = new Map([...synced, ...(await confirmedOrders(world, saleId, winnersOf(lagging.answers)))]);
    expect(before.size).toBe(100);

    const old = client(primary);
    const promoted = client(replica);
    await promoted.replicaof("NO", "ONE");
    address.lead(replica.port);

    // the gateway reaches only the old primary, which sells on until its permission runs out, and is never confirmed
    const answers: BuyAnswer[] = [];
    let both = 0;
    let buyer = 100;
    await until(
      async () => {
        const [there, here] = await Promise.all([shardState(old, SHARD), shardState(promoted, SHARD)]);
        if (there.isOpen && here.isOpen) both += 1;
        if (there.isOpen) answers.push(await world.once("POST", world.urlOf(saleId, `b${buyer++}`)));
        return here.isOpen;
      },
      "the promoted replica to sell",
      60_000,
    );
    expect(both).toBe(0);
    expect((await shardState(old, SHARD)).isOpen).toBe(false);
    expect(answers.filter(({ code }) => code === "reserved").length, "reserved on the old primary").toBeGreaterThan(0);
    expect(answers.filter(({ code }) => code === "confirmed")).toEqual([]);
    expect((await world.once("POST", world.urlOf(saleId, "b319"))).code).toBe("recovering");

    gatewayWay.lead(replica.port);
    // the old primary comes back as a replica and gives its half of the history up
    await old.replicaof("127.0.0.1", replica.port);
    await expectKept(world, saleId, { units: UNITS, buyers: BUYERS, before });
    await until(async () => (await info(old)).includes("master_link_status:up"), "the old primary to follow", 20_000);
    const [there, here] = await Promise.all([shardState(old, SHARD), shardState(promoted, SHARD)]);
    expect([there.epoch, there.isPrimary, there.isOpen]).toEqual([here.epoch, false, false]);
    await until(
      async () => (await shardState(old, SHARD)).applied === (await shardState(promoted, SHARD)).applied,
      "both to be the same",
      20_000,
    );
    expect(await old.hgetall(`{s0}:buyers:${saleId}`)).toEqual(await promoted.hgetall(`{s0}:buyers:${saleId}`));
  });
});
