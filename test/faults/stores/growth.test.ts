import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, StackWorld, startRedis, until, type RedisServer } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** A shard is added to a fleet in the middle of a sale, as deploy/OPERATING.md says. */
const UNITS = 200;
const PROGRAMS = ["gateway", "workers", "coordinator"];

let servers: readonly RedisServer[];
let hasGrown = false;
let world: StackWorld;
beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  const [first, second] = servers.map(({ url }) => url);
  const whole = `${first},${second}`;
  world = await StackWorld.start({
    environment: { ...environment, REDIS_SHARDS: first },
    launchEnvironment: (part) => (hasGrown && PROGRAMS.includes(part) ? { REDIS_SHARDS: whole } : {}),
  });
  world = new StackWorld(world.stack, { ...(await world.stack.info()), redisShards: whole });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

/** Stopped in order and started with the new list. */
const restart = async (program: string): Promise<void> => {
  const before = world.stack.pid(program);
  world.stack.kill(program, "SIGTERM");
  await until(
    () => world.stack.pid(program) !== undefined && world.stack.pid(program) !== before,
    `${program} to be started again`,
    40_000,
  );
  await world.stack.ready();
};

describe("a shard that is added to a running fleet", { timeout: 180_000 }, () => {
  it("is used by new sales, while what is on sale stays where it is and sells on", async () => {
    await world.openSale("before", UNITS);
    const early = crowd(world, "before", 0, 50);
    await early.done;
    const orders = await confirmedOrders(world, "before", winnersOf(early.answers));
    hasGrown = true;
    const later = crowd(world, "before", 50, UNITS + 50);
    for (const program of PROGRAMS) await restart(program);
    await later.done;
    await until(async () => (await world.shards()).map(({ state }) => state).join() === "open,open", "both shards to be open", 30_000);
    expect(await world.shardsOf("before")).toEqual([0]);
    await expectStillTheirs(world, "before", orders);
    await expectSoldOut(world, "before", UNITS);

    await world.openSale("after", UNITS);
    expect(await world.shardsOf("after")).toContain(1);
    await crowd(world, "after", 0, UNITS + 20).done;
    await expectSoldOut(world, "after", UNITS);
  });
});
