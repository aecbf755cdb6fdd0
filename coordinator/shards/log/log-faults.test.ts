import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Msg } from "nats";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LOG_STREAM } from "#protocol/subjects";
import { until } from "../../../test/harness/index.ts";
import { names, startShardWorld, type ShardWorld } from "../../../test/harness/shard-world.ts";

let world: ShardWorld;
beforeEach(async () => {
  world = await startShardWorld();
});
afterEach(async () => {
  await world.stop();
});

const buyEach = async (uids: readonly string[]): Promise<void> => {
  for (const uid of uids) await world.buy("a", [uid]);
};
/** until every entry of the outbox is in the log */
const untilLogged = async (seq: number): Promise<void> =>
  until(
    async () => (await world.logged()).some(({ message }) => message?.type === "entries" && (message.entries.at(-1)?.seq ?? 0) >= seq),
    `entry ${seq} in the log`,
  );
const consumers = async (): Promise<string[]> => (await world.manager.consumers.list(LOG_STREAM).next()).map(({ name }) => name);

/** u0's order is applied, up to the stream's `applied`; v0's is the log's last message, and held by a worker that does nothing with it */
const holdLast = async (): Promise<{ applied: number; consumer: string; held: Msg }> => {
  await world.openSale("a", 100);
  await world.buy("a", ["u0"]);
  await world.untilApplied(["u0"]);
  await world.worker.stopApplier();
  const applied = (await world.logged()).at(-1)?.seq ?? 0;
  await world.buy("a", ["v0"]);
  await untilLogged(3);
  const [consumer = ""] = await consumers();
  const connection = await world.connect();
  const held = await connection.request(`$JS.API.CONSUMER.MSG.NEXT.${LOG_STREAM}.${consumer}`, JSON.stringify({ batch: 1 }), {
    noMux: true,
    timeout: 2_000,
  });
  return { applied, consumer, held };
};

describe("a log that misbehaves", () => {
  it("is fed again when a message in its middle is lost", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    for (const uid of ["v0", "v1", "v2"]) {
      await world.buy("a", [uid]);
      await untilLogged((await world.state()).outboxLength + 2);
    }
    const lost = (await world.logged()).find(({ message }) => message?.type === "entries" && message.entries[0]?.seq === 3);
    await world.manager.streams.deleteMessage(LOG_STREAM, lost?.seq ?? 0);
    world.worker.startApplier();
    await world.untilApplied(["u0", "v0", "v1", "v2"]);
    expect(coordinator.causes).toEqual(["gap"]);
    expect(coordinator.attempts).toEqual(["opened"]);
  });

  it("is fed again once for a gap, however often that gap is seen, and again for a later one", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await world.untilApplied([]);
    await until(async () => (await world.state()).outboxLength === 0, "the opening stock");
    await world.worker.stopApplier();
    await world.buy("a", ["u0"]);
    await untilLogged(2);
    const gapAt = async (streamSeq: number): Promise<void> => {
      await world.database.sql("UPDATE shards SET gap_at = applied, gap_stream_seq = ?", [streamSeq]);
      await coordinator.look(6);
    };
    const { seq } = (await world.logged()).at(-1) ?? { seq: 0 };
    await gapAt(seq);
    expect(coordinator.causes).toEqual(["gap"]);
    await gapAt(seq + 1);
    expect(coordinator.causes).toEqual(["gap", "gap"]);
    world.worker.startApplier();
    await world.untilApplied(["u0"]);
  });

  it("is fed again when its tail is lost, without an event", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    await world.buy("a", ["v0"]);
    await untilLogged(3);
    const last = (await world.logged()).at(-1);
    await world.manager.streams.deleteMessage(LOG_STREAM, last?.seq ?? 0);
    world.worker.startApplier();
    await world.untilApplied(["u0", "v0"]);
    expect(coordinator.causes).toEqual(["log_behind"]);
  });

  it("is fed again when the broker forgets what a dead worker held, though nothing more is sold", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    const { applied, consumer } = await holdLast();
    await coordinator.log.purge(applied);
    const { num_ack_pending: awaited } = await world.manager.consumers.info(LOG_STREAM, consumer);
    world.worker.startApplier();
    await world.untilApplied(["u0", "v0"]);
    // a broker that keeps it hands it out once more, 10 s later
    expect(coordinator.causes).toEqual(awaited === 0 ? ["forgotten"] : []);
    expect(coordinator.attempts).toEqual(["opened"]);
  });

  it("is not fed again for a worker that takes its time", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    const { held } = await holdLast();
    await coordinator.look(6);
    expect(coordinator.causes).toEqual([]);
    held.respond(Buffer.from("-NAK"));
    world.worker.startApplier();
    await world.untilApplied(["u0", "v0"]);
    expect(coordinator.causes).toEqual([]);
  });

  it("is made anew when the stream is deleted", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await buyEach(names("u", 10));
    await world.untilApplied(names("u", 10));
    await world.worker.stopApplier();
    await buyEach(names("v", 5));
    await untilLogged(16);
    await world.manager.streams.delete(LOG_STREAM);
    world.worker.startApplier();
    await buyEach(names("w", 5));
    await world.untilApplied([...names("u", 10), ...names("v", 5), ...names("w", 5)]);
    expect(coordinator.causes).toContain("consumer");
    expect(await world.orders()).toHaveLength(20);
  });

  it("is fed again when the broker dies and comes back empty", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await buyEach(names("u", 10));
    await world.untilApplied(names("u", 10));
    await world.worker.stopApplier();
    await buyEach(names("v", 5));
    await untilLogged(16);
    await world.nats.kill();
    await rm(world.nats.dir, { recursive: true });
    await world.nats.start();
    world.worker.startApplier();
    await world.untilOpen();
    await world.untilApplied([...names("u", 10), ...names("v", 5)]);
    expect(await world.orders()).toHaveLength(15);
    expect(coordinator.keeper.isOpen).toBe(true);
  });

  it("gets a new consumer when the broker comes back with a stream that is older than its consumer", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await buyEach(names("u", 3));
    await world.untilApplied(names("u", 3));
    // the stream's messages as of now beside a consumer of later
    const messages = join(world.nats.dir, "jetstream", "$G", "streams", LOG_STREAM, "msgs");
    const copy = `${world.nats.dir}-msgs`;
    await until(async () => (await world.manager.streams.info(LOG_STREAM)).state.messages >= 2, "messages");
    await cp(messages, copy, { recursive: true });
    await buyEach(names("v", 5));
    await world.untilApplied(names("v", 5));
    const [before] = await consumers();
    await world.worker.stopApplier();
    await buyEach(names("w", 3));
    await untilLogged(12);
    await world.nats.kill();
    await rm(messages, { recursive: true });
    await cp(copy, messages, { recursive: true });
    await rm(copy, { recursive: true });
    await world.nats.start();
    world.worker.startApplier();
    await world.untilApplied([...names("u", 3), ...names("v", 5), ...names("w", 3)]);
    const after = await consumers();
    expect(after).toHaveLength(1);
    expect(after[0]).not.toBe(before);
    expect(await world.orders()).toHaveLength(11);
  });

  it("appends nothing again over a killed broker that kept everything but for a cause", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await buyEach(names("u", 5));
    await world.untilApplied(names("u", 5));
    await world.nats.kill();
    await world.nats.start();
    await world.untilOpen();
    await buyEach(names("v", 5));
    await world.untilApplied([...names("u", 5), ...names("v", 5)]);
    for (const cause of coordinator.causes) expect(["consumer", "unanswered"]).toContain(cause);
  });

  it("grows the outbox while it is full, and goes on when what is applied is purged", async () => {
    const coordinator = await world.coordinator({ maxBytes: 128 << 10 });
    await world.untilOpen();
    await world.openSale("a", 10_000);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    const crowd = Array.from({ length: 32 }, (_, batch) => names(`crowd-number-${batch}-with-a-long-name-`, 200));
    for (const uids of crowd) await world.buy("a", uids);
    await until(() => coordinator.causes.includes("full"), "the log to be full");
    expect((await world.state()).isOpen).toBe(true);
    world.worker.startApplier();
    await world.untilApplied(crowd.flat());
    expect(coordinator.attempts).toEqual(["opened"]);
    expect(coordinator.purges.length).toBeGreaterThan(0);
    expect(await world.orders()).toHaveLength(6_401);
  });

  it("begins an epoch over a log that is full of what is applied", async () => {
    const first = await world.coordinator({ maxBytes: 128 << 10 });
    await world.untilOpen();
    await world.openSale("a", 10_000);
    await world.worker.stopApplier();
    const crowd = Array.from({ length: 32 }, (_, batch) => names(`crowd-number-${batch}-with-a-long-name-`, 200));
    for (const uids of crowd) await world.buy("a", uids);
    await until(() => first.causes.includes("full"), "the log to be full");
    await first.stop();
    await world.server.kill();
    await world.server.start();
    world.worker.startApplier();
    const second = await world.coordinator({ maxBytes: 128 << 10 });
    await world.untilOpen(2);
    await world.untilApplied(crowd.flat());
    expect(second.purges.length).toBeGreaterThan(0);
    expect(await world.orders()).toHaveLength(6_400);
  });

  it("stays within its bound while far more than that passes through", async () => {
    const maxBytes = 64 << 10;
    const coordinator = await world.coordinator({ maxBytes });
    await world.untilOpen();
    await world.openSale("a", 10_000);
    const crowd = Array.from({ length: 40 }, (_, batch) => names(`crowd-number-${batch}-with-a-long-name-`, 100));
    for (const uids of crowd) {
      await world.buy("a", uids);
      await world.untilApplied(uids);
    }
    const { state } = await world.manager.streams.info(LOG_STREAM);
    expect(state.bytes).toBeLessThan(maxBytes);
    expect(state.last_seq).toBeGreaterThan(40);
    expect(coordinator.purges.length).toBeGreaterThan(1);
    expect(coordinator.causes).toEqual([]);
    expect(await world.orders()).toHaveLength(4_000);
  });
});
