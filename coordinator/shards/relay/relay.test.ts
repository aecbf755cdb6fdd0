import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Entry } from "#lua/shard/entry";
import { systemClock } from "#program/system";
import { encodeLogRecord, entriesThatFit, RECORD_ORDERS, type EntriesRecord } from "#protocol/log-record";
import { until } from "../../../test/harness/index.ts";
import { names, startShardWorld, type ShardWorld } from "../../../test/harness/shard-world.ts";
import { joinRecords } from "./record-join.ts";

const order = (seq: number, count: number): Entry => ({
  kind: "o",
  seq,
  saleId: "a",
  atMs: 1,
  count,
  purchases: names("u", count).join(" "),
});
/** what the broker of the tests takes */
const PAYLOAD = 1 << 20;
const shape = (messages: readonly EntriesRecord[]): number[][] => messages.map(({ entries }) => entries.map(({ seq }) => seq));

describe("joinRecords", () => {
  it("joins what is there up to the bound", () => {
    expect(shape(joinRecords(0, 1, [order(1, 400), order(2, 400), order(3, 400)], PAYLOAD))).toEqual([[1, 2], [3]]);
    expect(shape(joinRecords(0, 1, [order(1, 500), order(2, RECORD_ORDERS - 500), order(3, 1)], PAYLOAD))).toEqual([[1, 2], [3]]);
  });

  it("never splits an entry", () => {
    expect(shape(joinRecords(0, 1, [order(1, RECORD_ORDERS + 1), order(2, 1)], PAYLOAD))).toEqual([[1], [2]]);
  });

  it("keeps a message within what the broker takes, an entry that is larger alone", () => {
    const entries = [order(1, 100), order(2, 100), order(3, 100), order(4, 500), order(5, 1)];
    const records = joinRecords(0, 1, entries, 1_400);
    expect(shape(records)).toEqual([[1, 2], [3], [4], [5]]);
    for (const { entries: joined } of records.filter(({ entries: [first] }) => first?.seq !== 4))
      expect(encodeLogRecord({ type: "entries", shard: 0, epoch: 1, entries: joined }).byteLength).toBeLessThan(1_400);
  });

  it("knows a message's size from above, whatever is in it", () => {
    const most = Number.MAX_SAFE_INTEGER;
    const id = "i".repeat(64);
    const entries: Entry[] = [
      { kind: "o", seq: most - 2, saleId: id, atMs: most, count: most, purchases: `${id}:${id}:999999999` },
      { kind: "g", seq: most - 1, saleId: id, atMs: most, grantId: id, units: most },
      { kind: "w", seq: most, saleId: id, atMs: most, receiver: most, units: most },
    ];
    const { byteLength } = encodeLogRecord({ type: "entries", shard: most, epoch: most, entries });
    expect(entriesThatFit(entries, byteLength - 1)).toBeLessThan(3);
    expect(entriesThatFit(entries, byteLength + 512)).toBe(3);
  });

  it("begins another message where the outbox was trimmed in between", () => {
    expect(shape(joinRecords(0, 1, [order(1, 1), order(2, 1), order(7, 1)], PAYLOAD))).toEqual([[1, 2], [7]]);
  });
});

describe("the relay", () => {
  let world: ShardWorld;
  beforeEach(async () => {
    world = await startShardWorld();
  });
  afterEach(async () => {
    await world.stop();
  });

  /** seqs of the entries in the log, message by message */
  const logged = async (): Promise<number[][]> =>
    (await world.logged()).flatMap(({ message }) => (message?.type === "entries" ? [message.entries.map(({ seq }) => seq)] : []));

  it("carries a crowd's entries in order, each once, joined into few messages", async () => {
    await world.worker.stopApplier();
    world.worker.startApplier();
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100_000);
    const batches = Array.from({ length: 400 }, (_, batch) => names(`b${batch}-`, 20));
    await Promise.all(batches.map((uids) => world.buy("a", uids)));
    await world.untilApplied(batches.flat());
    const messages = await logged();
    expect(messages.flat()).toEqual(Array.from({ length: 401 }, (_, index) => index + 1));
    expect(messages.length).toBeLessThan(100);
    for (const seqs of messages) expect(seqs.length * 20).toBeLessThanOrEqual(RECORD_ORDERS);
    expect(coordinator.causes).toEqual([]);
  });

  it("appends again, from there, what was not acknowledged, and what may have been stored does no harm", async () => {
    let count = 0;
    const coordinator = await world.coordinator({
      alter: (ports) => ({
        ...ports,
        log: {
          ...ports.log,
          append: async (message) => {
            count += 1;
            // every third one is lost on its way, every fifth one's answer on the way back
            if (count % 3 === 0) throw new Error("lost");
            const answer = await ports.log.append(message);
            if (count % 5 === 0) throw new Error("no answer");
            return answer;
          },
        },
      }),
    });
    await world.untilOpen();
    await world.openSale("a", 1_000);
    const uids = names("u", 60);
    for (const uid of uids) await world.buy("a", [uid]);
    await world.untilApplied(uids);
    expect(coordinator.causes).toContain("unanswered");
    expect((await world.orders()).map((line) => line.split(" ")[0])).toEqual(uids);
  });

  it("appends nothing again while the worker is away, however long", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 1_000);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    await world.buy("a", ["u1"]);
    await coordinator.look(10);
    expect((await logged()).filter((seqs) => seqs.includes(3))).toHaveLength(1);
    world.worker.startApplier();
    await world.untilApplied(["u1"]);
    expect(coordinator.causes).toEqual([]);
  });

  it("joins what comes while the worker has enough before it", async () => {
    let hold = false;
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await world.coordinator({
      clock: {
        ...systemClock,
        sleep: async (ms, signal) => {
          if (!hold || ms > 25 || signal?.aborted === true) return await systemClock.sleep(ms, signal);
          const woken = new Promise<void>((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
          return await Promise.race([released, woken]);
        },
      },
    });
    await world.untilOpen();
    await world.openSale("a", 1_000);
    await world.untilApplied([]);
    await world.worker.stopApplier();
    hold = true;
    for (const [index, uid] of ["u0", "u1"].entries()) {
      await world.buy("a", [uid]);
      await until(async () => (await logged()).flat().includes(index + 2), "a message ahead");
    }
    const uids = names("v", 50);
    for (const uid of uids) await world.buy("a", [uid]);
    release();
    await until(async () => (await logged()).flat().includes(53), "the last entry");
    const seqs = (await logged()).filter((message) => (message[0] ?? 0) > 3);
    expect(seqs.length).toBeLessThanOrEqual(2);
    world.worker.startApplier();
    await world.untilApplied(uids);
  });

  it("appends nothing to a run of the broker that was not verified", async () => {
    let isUnknown = false;
    let looks = 0;
    await world.coordinator({
      alter: (ports) => ({
        ...ports,
        log: {
          ...ports.log,
          brokerId: () => (isUnknown ? "another" : ports.log.brokerId()),
          verify: async () => {
            looks += 1;
            return await ports.log.verify();
          },
        },
      }),
    });
    await world.untilOpen();
    await world.openSale("a", 1_000);
    await world.untilApplied([]);
    await until(async () => (await world.state()).outboxLength === 0, "the opening stock");
    isUnknown = true;
    const { length } = await logged();
    await world.buy("a", ["u0"]);
    const before = looks;
    await until(() => looks > before + 4, "four looks");
    expect(await logged()).toHaveLength(length);
    isUnknown = false;
    await world.untilApplied(["u0"]);
  });

  it("reads on after its own connection was cut", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 1_000);
    const cut = async (): Promise<void> => {
      const clients = String(await world.redis.client("LIST"));
      for (const line of clients.split("\n").filter((client) => client.includes("name=outbox"))) {
        const id = /^id=(\d+)/.exec(line)?.[1];
        if (id !== undefined) await world.redis.client("KILL", "ID", id);
      }
    };
    const uids = names("u", 20);
    for (const uid of uids) {
      await cut();
      await world.buy("a", [uid]);
    }
    await world.untilApplied(uids);
  });

  it("closes the shard rather than skip an entry that it cannot read", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.redis.xadd("{s0}:outbox", "1-*", "k", "nonsense");
    await until(async () => coordinator.attempts.includes("fault") && !(await world.isOpen()), "the shard to be closed");
    expect(coordinator.faults.map(String).join()).toContain("not an entry");
  });
});
