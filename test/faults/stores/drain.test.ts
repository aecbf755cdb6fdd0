import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KnownSale } from "../../../gateway/index.ts";
import { environment, StackWorld, startRedis, until, type RedisServer } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** A server is taken out for maintenance in the middle of a sale, as deploy/OPERATING.md says. */
const UNITS = 200;
const EARLY = 40;

let servers: readonly RedisServer[];
let world: StackWorld;
beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  world = await StackWorld.start({ environment: { ...environment, REDIS_SHARDS: servers.map(({ url }) => url).join() } });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

const untilState = (shard: number, state: string): Promise<void> =>
  until(async () => (await world.shards().catch(() => []))[shard]?.state === state, `shard ${shard} to be ${state}`, 60_000);

/** The coordinator has given the shard up: as long as it takes its permission to be open still, it decides as before. */
const untilGivenUp = (shard: number): Promise<void> =>
  until(
    async () => {
      const { metrics } = await world.stack.info();
      const text = await (await fetch(`${metrics.coordinator}/metrics`)).text();
      return text.includes(`doorbuster_shard_open{shard="${shard}"} 0`);
    },
    `shard ${shard} to be given up`,
    30_000,
  );

/** New buyers whose home is this shard. */
const buyersAt = async (saleId: string, shard: number, count: number): Promise<string[]> => {
  const sale = new KnownSale(await world.record(saleId));
  const uids: string[] = [];
  for (let n = 0; uids.length < count; n += 1) if (sale.shardOf(`later-${n}`) === shard) uids.push(`later-${n}`);
  return uids;
};

describe("a server that is stopped for maintenance", { timeout: 180_000 }, () => {
  it.each([0, 1])("sold through the other when shard %d is drained: the sale sells out, and what was bought there stays", async (shard) => {
    const saleId = `drain-${shard}`;
    const other = 1 - shard;
    await world.openStocked(saleId, UNITS, { shardCount: 2 });
    const early = crowd(world, saleId, 0, EARLY);
    await early.done;
    const orders = await confirmedOrders(world, saleId, winnersOf(early.answers));
    expect(orders.size).toBe(EARLY);

    await world.admin(`/shards/${shard}/drain`);
    await untilState(shard, "drained");
    await servers[shard]?.kill();
    await untilState(shard, "away");
    await untilGivenUp(shard);
    const uids = await buyersAt(saleId, other, UNITS - EARLY + 20);
    const answers: string[] = [];
    for (const uid of uids.slice(0, UNITS - EARLY)) answers.push((await world.buy(saleId, uid)).code);
    expect(new Set(answers)).toEqual(new Set(["reserved"]));
    // whoever hears `try_again` asks again: this ends only if the sale is known to be sold out while a shard is away
    for (const uid of uids.slice(UNITS - EARLY)) expect(await world.buy(saleId, uid)).toMatchObject({ code: "sold_out" });

    await servers[shard]?.start();
    await world.admin(`/shards/${shard}/undrain`);
    await untilState(shard, "open");
    await expectStillTheirs(world, saleId, orders);
    await expectSoldOut(world, saleId, UNITS);
  });
});
