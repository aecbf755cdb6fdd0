import { beforeEach, describe, expect, it } from "vitest";
import { names, startShardWorld, type ShardWorld } from "../../test/harness/shard-world.ts";
import { until, waitingForLocks } from "../../test/harness/index.ts";
import { systemClock } from "#program";
import { saleKeys, shardKeys } from "#lua";
import { shardFactsSchema, type ShardFacts } from "#protocol/shard-facts";
import { holdDraining } from "../db/drain-lock.ts";
import { hearAttempts } from "./attempt-board.ts";
import { shardAdmin, type ShardAdmin } from "./admin.ts";

let world: ShardWorld;
let admin: ShardAdmin;
beforeEach(async () => {
  world = await startShardWorld();
  admin = shardAdmin({
    database: world.database,
    shards: 1,
    redisOf: () => world.redis,
    attempts: hearAttempts(await world.connect(), systemClock),
  });
  return () => world.stop();
});

const facts = async (): Promise<ShardFacts> => (await admin.facts(true))[0] as ShardFacts;
const refused = (code: string) => ({ ok: false, code, detail: expect.any(String) });

describe("the facts about a shard", () => {
  it("tell its state, epoch, lease holder, lag and units", async () => {
    expect(await facts()).toMatchObject({ shard: 0, state: "recovering", epoch: 0, redisEpoch: 0, holder: null, attempt: null });
    await world.coordinator({ holder: "here/7" });
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", names("u", 4));
    await world.untilApplied(names("u", 4));
    await world.worker.stopApplier();
    await world.buy("a", names("v", 3));
    expect(await facts()).toMatchObject({
      state: "open",
      epoch: 1,
      redisEpoch: 1,
      holder: "here/7",
      outboxEntries: 1,
      oldestMs: expect.any(Number) as number,
      sales: 1,
      units: { left: 3, reserved: 3, sold: 4, arriving: 0 },
      halted: null,
      draining: false,
    });
    world.worker.startApplier();
    await world.untilApplied(names("v", 3));
    expect(await facts()).toMatchObject({ outboxEntries: 0, oldestMs: null });
  });

  it("tell for how long an entry has waited, however little can be read of it", async () => {
    await world.redis.xadd("{s0}:outbox", "1-1", "k", "unknown", "t", String(Date.now() - 40_000));
    const { oldestMs } = await facts();
    expect(oldestMs).toBeGreaterThanOrEqual(40_000);
    expect(oldestMs).toBeLessThan(80_000);
  });

  it("tell a Redis that does not answer, and a halt before all else", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.server.kill();
    expect(await facts()).toMatchObject({ state: "away", redisEpoch: null, outboxEntries: null, holder: null });
    await world.database.sql("UPDATE shards SET halted = 'a reason'");
    expect(await facts()).toMatchObject({ state: "halted", halted: "a reason" });
  });

  it("leave out what nobody can read in Redis, and tell of a row that nobody can read as of a halt", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.redis.hset(saleKeys(0, "a").sale, "left", "many");
    const told = await facts();
    expect(shardFactsSchema.parse(told)).toMatchObject({ state: "open", epoch: 1, units: { left: null, reserved: null } });
    await world.redis.set(shardKeys(0).epoch, "-7");
    expect(shardFactsSchema.parse(await facts())).toMatchObject({ epoch: 1, redisEpoch: null });
    await world.database.sql("UPDATE sale_shards SET quota = 9007199254740993, sold = 9007199254740993");
    expect(shardFactsSchema.parse(await facts())).toMatchObject({
      shard: 0,
      state: "halted",
      halted: expect.stringMatching(/cannot be read: units.sold: /),
    });
  });

  it("leave sales out that are over", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.openSale("b", 5);
    await world.database.sql("UPDATE sales SET state = 'closed' WHERE id = 'a'");
    expect(await facts()).toMatchObject({ sales: 1, units: { left: 5 } });
  });
});

describe("a shard that an operator drains", () => {
  it("is not `drained` before what was being sent to it has arrived", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 1);
    await world.buy("a", ["u"]);
    await world.untilApplied(["u"]);
    let draining: ReturnType<ShardAdmin["change"]> | undefined;
    await world.database.transaction(async (sql) => {
      await holdDraining(sql);
      await sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ('a', 'late', 0, 2, 'added')");
      draining = admin.change({ shard: 0, change: "drain" });
      await until(async () => (await waitingForLocks(sql)) > 0, "the drain to wait");
      expect(await facts()).toMatchObject({ state: "open" });
    });
    expect(await draining).toMatchObject({ ok: true, value: { state: "draining", units: { arriving: 2 } } });
    await world.database.sql("DELETE FROM grants WHERE id = 'late'");
    expect(await facts()).toMatchObject({ state: "drained" });
  });
});

describe("a halt that an operator takes away", () => {
  it("lets the shard sell on, also when the message that caused it was lost with the log", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.untilApplied([]);
    await world.database.sql("UPDATE shards SET halted = 'its message is lost'");
    await until(async () => !(await world.isOpen()), "the shard to close");
    expect(await admin.change({ shard: 0, change: "retry" })).toMatchObject({ ok: true, value: { halted: null } });
    await world.untilOpen(2);
    await world.buy("a", ["u"]);
    await world.untilApplied(["u"]);
    expect(await admin.change({ shard: 0, change: "retry" })).toEqual(refused("conflict"));
  });

  it("comes back while its cause is there, and nothing is lost when that is repaired", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.untilApplied([]);
    // the worker cannot apply what it was never told of
    await world.database.sql("ALTER TABLE sale_shards RENAME COLUMN sold TO sold_elsewhere");
    await world.database.sql("ALTER TABLE sale_shards ADD COLUMN sold bigint NOT NULL DEFAULT 0 CHECK (sold = 0)");
    await world.buy("a", ["u"]);
    const halted = (): Promise<boolean> => facts().then(({ state }) => state === "halted");
    await until(halted, "the halt", 20_000);
    await admin.change({ shard: 0, change: "retry" });
    await until(halted, "the halt again", 30_000);
    await world.database.sql("ALTER TABLE sale_shards DROP COLUMN sold");
    await world.database.sql("ALTER TABLE sale_shards RENAME COLUMN sold_elsewhere TO sold");
    await admin.change({ shard: 0, change: "retry" });
    await world.untilApplied(["u"]);
    // in a new epoch only if the halt lasted longer than the permission to sell
    await world.untilOpen();
  });
});

describe("what a closed shard's Redis holds beyond Postgres", () => {
  it("is not discarded while the shard sells, or while Redis does not answer", async () => {
    await world.coordinator();
    await world.untilOpen();
    expect(await admin.change({ shard: 0, change: "discard" })).toEqual(refused("conflict"));
    await world.server.kill();
    expect(await admin.change({ shard: 0, change: "discard" })).toEqual(refused("unavailable"));
    expect((await world.database.sql("SELECT epoch FROM shards")).rows[0]).toEqual({ epoch: "1" });
  });

  it("is discarded with the message that can never be applied: confirmed orders stay, the unit is free again", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 3);
    const kept = await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    // an entry of a sale that Postgres does not have
    await world.redis.xadd("{s0}:outbox", "1-*", "k", "o", "s", "nowhere", "t", "0", "n", "1", "b", "x");
    await world.buy("a", ["lost"]);
    await until(async () => (await facts()).state === "halted", "the halt", 20_000);
    expect(await admin.change({ shard: 0, change: "discard" })).toMatchObject({ ok: true, value: { halted: null, epoch: 2 } });
    await world.untilOpen(3);
    expect(await world.buy("a", ["u0"])).toEqual(kept);
    expect(await world.reserve("a", ["u1", "u2"])).toMatchObject({ status: "ok", left: 0 });
    await world.untilApplied(["u1", "u2"]);
    expect((await world.orders()).map((order) => order.split(" ")[0])).toEqual(["u0", "u1", "u2"]);
  });

  it("is discarded from a Redis with a higher epoch than Postgres has", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 3);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.redis.multi().del("{s0}:open").set("{s0}:epoch", 40).exec();
    await until(() => coordinator.attempts.filter((result) => result === "overtaken").length > 1, "attempts that cannot succeed", 30_000);
    expect(await facts()).toMatchObject({ state: "recovering", redisEpoch: 40 });
    expect(await admin.change({ shard: 0, change: "discard" })).toMatchObject({ ok: true });
    await world.untilOpen(42);
    expect(await world.reserve("a", ["u0", "u1"])).toMatchObject({
      status: "ok",
      left: 1,
      decisions: [{ decision: "c" }, { decision: "w" }],
    });
  });
});
