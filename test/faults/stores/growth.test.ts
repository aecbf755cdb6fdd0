import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, Fair, startRedis, until, type RedisServer } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** A shard is added to a fleet in the middle of a sale, as deploy/OPERATING.md says. */
const UNITS = 200;
const PROGRAMS = ["gateway", "workers", "coordinator"];

let servers: readonly RedisServer[];
let hasGrown = false;
let fair: Fair;
beforeAll(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  const [first, second] = servers.map(({ url }) => url);
  const whole = `${first},${second}`;
  fair = await Fair.open({
    environment: { ...environment, REDIS_SHARDS: first },
    launchEnvironment: (part) => (hasGrown && PROGRAMS.includes(part) ? { REDIS_SHARDS: whole } : {}),
  });
  fair = new Fair(fair.stack, { ...(await fair.stack.info()), redisShards: whole });
}, 180_000);
afterAll(async () => {
  await fair?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

/** Stopped in order and started with the new list. */
const restart = async (program: string): Promise<void> => {
  const before = fair.stack.pid(program);
  fair.stack.kill(program, "SIGTERM");
  await until(() => fair.stack.pid(program) !== undefined && fair.stack.pid(program) !== before, `${program} to be started again`, 40_000);
  await fair.stack.ready();
};

describe("a shard that is added to a running fleet", { timeout: 180_000 }, () => {
  it("is used by new sales, while what is on sale stays where it is and sells on", async () => {
    await fair.openSale("before", UNITS);
    const early = crowd(fair, "before", 0, 50);
    await early.done;
    const orders = await confirmedOrders(fair, "before", winnersOf(early.told));
    hasGrown = true;
    const later = crowd(fair, "before", 50, UNITS + 50);
    for (const program of PROGRAMS) await restart(program);
    await later.done;
    await until(async () => (await fair.shards()).map(({ state }) => state).join() === "open,open", "both shards to be open", 30_000);
    expect(await fair.shardsOf("before")).toEqual([0]);
    await expectStillTheirs(fair, "before", orders);
    await expectSoldOut(fair, "before", UNITS);

    await fair.openSale("after", UNITS);
    expect(await fair.shardsOf("after")).toContain(1);
    await crowd(fair, "after", 0, UNITS + 20).done;
    await expectSoldOut(fair, "after", UNITS);
  });
});
