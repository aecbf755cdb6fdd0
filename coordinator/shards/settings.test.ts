import { afterEach, describe, expect, it } from "vitest";
import { until } from "../../test/harness/index.ts";
import { names, startShardWorld, type ShardWorld } from "../../test/harness/shard-world.ts";
import type { CoordinatorWorld } from "../../test/harness/coordinator-world.ts";

let world: ShardWorld;
afterEach(async () => {
  await world.stop();
});

const found = ({ problems }: CoordinatorWorld): string[] => problems.all().map(({ setting, verdict }) => `${verdict} ${setting}`);
const untilFound = (coordinator: CoordinatorWorld, what: readonly string[]): Promise<void> =>
  until(() => JSON.stringify(found(coordinator)) === JSON.stringify(what), `${what.join(", ") || "no problem"} to be found`);
/** a batch that makes an entry of 32 kB */
const longNames = (batch: number): string[] => names(`${"x".repeat(56)}${batch}-`, 500).map((uid) => uid.slice(-64));

describe("a shard on stores that are set up wrongly", () => {
  it("is not opened on a Redis that deletes keys, and says so; what only promises less is said, and it sells", async () => {
    world = await startShardWorld();
    await world.redis.config("SET", "maxmemory-policy", "allkeys-lru");
    await world.redis.config("SET", "appendfsync", "everysec");
    const coordinator = await world.coordinator();
    await untilFound(coordinator, ["refuse maxmemory-policy", "warn appendfsync"]);
    await until(() => coordinator.halts.length > 0, "the shard to be refused");
    expect(coordinator.halts[0]).toBe("maxmemory-policy is allkeys-lru, wanted is noeviction");
    expect(coordinator.attempts).toEqual([]);
    expect(await world.isOpen()).toBe(false);
    await world.redis.config("SET", "maxmemory-policy", "noeviction");
    await world.untilOpen();
    expect(found(coordinator)).toEqual(["warn appendfsync"]);
  });

  it("is looked at again when its Redis started again, and when another coordinator takes it", async () => {
    world = await startShardWorld();
    const first = await world.coordinator();
    await world.untilOpen();
    expect(found(first)).toEqual([]);
    await first.stop();
    await world.redis.config("SET", "maxmemory-policy", "allkeys-random");
    const second = await world.coordinator();
    await untilFound(second, ["refuse maxmemory-policy"]);
    await until(async () => !(await world.isOpen()), "the shard to be closed");
    await world.server.kill();
    await world.server.start();
    await world.untilOpen(2);
    expect(found(second)).toEqual([]);
  });

  it("is closed by a broker that takes less than it needs, sells nothing more, and goes on when that is mended", async () => {
    let payload = 1 << 20;
    world = await startShardWorld({ settings: () => [`max_payload: ${payload}`] });
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10_000);
    await world.untilApplied([]);
    await until(async () => (await world.state()).outboxLength === 0, "the opening stock");
    await world.worker.stopApplier();
    await world.buy("a", ["u0"]);
    await world.nats.kill();
    await world.buy("a", longNames(0));
    payload = 16 << 10;
    await world.nats.start();
    await untilFound(coordinator, ["refuse max_payload"]);
    await until(async () => !(await world.isOpen()), "the shard to be closed");
    // the first entry is carried still, the large one cannot be: it stays in the outbox
    world.worker.startApplier();
    await until(async () => (await world.orders()).length === 1, "what fits to be applied");
    await until(() => coordinator.faults.some((fault) => (fault as Error).name === "EntryTooLarge"), "the entry that does not fit");
    expect((await world.state()).outboxLength).toBeGreaterThan(0);
    await world.nats.kill();
    payload = 1 << 20;
    await world.nats.start();
    await world.untilOpen(2);
    await until(async () => (await world.orders()).length === 501, "every order");
    expect(found(coordinator)).toEqual([]);
  });

  it("is closed by an entry that the broker never takes, whoever has let it sell there", async () => {
    world = await startShardWorld({ settings: () => [`max_payload: ${16 << 10}`] });
    const coordinator = await world.coordinator({ alter: (ports) => ({ ...ports, settings: { refusals: async () => [] } }) });
    await world.untilOpen();
    await world.openSale("a", 10_000);
    await world.untilApplied([]);
    await world.buy("a", longNames(0));
    await until(async () => coordinator.attempts.includes("fault") && !(await world.isOpen()), "the shard to be closed");
    expect(coordinator.faults.map(String).join()).toContain("raise max_payload");
  });

  it("carries a full outbox over a broker that takes just what it needs, in smaller records", async () => {
    world = await startShardWorld({ settings: () => [`max_payload: ${128 << 10}`] });
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100_000, 5);
    await world.worker.stopApplier();
    // two of them have a thousand orders, and 132 kB
    const keyed = (batch: number): string[] => longNames(batch).map((uid) => `${uid.padEnd(64, "y")}:${"k".repeat(64)}:1`);
    for (let batch = 0; batch < 8; batch += 1) await world.buy("a", keyed(batch));
    world.worker.startApplier();
    await until(async () => (await world.orders()).length === 4_000, "every order");
    expect(coordinator.causes).toEqual([]);
    expect(found(coordinator)).toEqual([]);
  });

  it("is not opened without JetStream", async () => {
    world = await startShardWorld({ jetstream: false });
    const coordinator = await world.coordinator();
    await untilFound(coordinator, ["refuse jetstream"]);
    expect(await world.isOpen()).toBe(false);
  });

  it("is closed when its user may not publish to the log, and says which subject", async () => {
    world = await startShardWorld({ denied: ["orders.*"] });
    const coordinator = await world.coordinator();
    await untilFound(coordinator, ["refuse permissions"]);
    expect(coordinator.problems.all()[0]?.found).toContain("publish orders.0");
    expect(await world.isOpen()).toBe(false);
  });
});
