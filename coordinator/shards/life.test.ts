// Over 400 lines: a shard's life is told in order, on one set of servers.
import { cp, rm } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InvariantViolation, Invariant } from "#lua";
import { systemClock } from "#program/system";
import { logSubject, LOG_STREAM } from "#protocol/subjects";
import { startRedis, until } from "../../test/harness/index.ts";
import { redisClient } from "../../test/harness/open-shard.ts";
import { startShardWorld, type ShardWorld } from "../../test/harness/shard-world.ts";

let world: ShardWorld;
beforeEach(async () => {
  world = await startShardWorld();
});
afterEach(async () => {
  await world.stop();
});

const rowMode = async (): Promise<string> =>
  String((await world.database.sql("SELECT mode FROM shards WHERE shard = 0")).rows[0]?.["mode"]);
const restartRedis = async (between = async (): Promise<void> => undefined): Promise<void> => {
  await world.server.kill();
  await between();
  await world.server.start();
  await until(async () => (await world.redis.ping().catch(() => "")) === "PONG", "Redis to answer");
};

/** The steps of the last attempt; `restore` comes once more with every chunk. */
const stepsOf = ({ phases }: { readonly phases: readonly string[] }): readonly string[] =>
  phases.slice(phases.lastIndexOf("ask")).filter((phase, index, all) => phase !== all[index - 1]);

describe("the beginning of an epoch", () => {
  it("opens a shard that has never been", async () => {
    const coordinator = await world.coordinator();
    const state = await world.untilOpen();
    expect(state.epoch).toBe(1);
    expect(stepsOf(coordinator)).toEqual(["ask", "close", "flush", "mark", "await", "restore", "open"]);
    await world.openSale("a", 10);
    await world.buy("a", ["u1", "u2"]);
    await world.untilApplied(["u1", "u2"]);
    expect(await world.orders()).toEqual(["u1 1-2-0 pending_payment", "u2 1-2-1 pending_payment"]);
  });

  it("does not open while no worker answers, and opens when one does", async () => {
    await world.worker.stopAnswers();
    const coordinator = await world.coordinator();
    await until(() => coordinator.faults.length >= 2, "the coordinator to ask in vain twice");
    expect(await world.isOpen()).toBe(false);
    world.worker.startAnswers();
    await world.untilOpen();
  });

  it("keeps what Redis has after a clean restart: wins that nobody carried survive", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    coordinator.gate.close();
    const won = await world.buy("a", ["u1", "u2", "u3"]);
    await restartRedis();
    coordinator.gate.open();
    await world.untilOpen(2);
    expect(await rowMode()).toBe("keep");
    expect(stepsOf(coordinator)).toEqual(["ask", "close", "flush", "mark", "await", "keep", "open"]);
    await world.untilApplied(["u1", "u2", "u3"]);
    expect(await world.buy("a", ["u1", "u2", "u3"])).toEqual(won);
    expect(await world.orders()).toHaveLength(4);
  });

  it("keeps units of a sale that had been flagged for as long as a gateway may believe the flag", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.database.sql("UPDATE sales SET ever_sold_out = true");
    await restartRedis();
    await world.untilOpen(2);
    expect(await rowMode()).toBe("keep");
    expect(stepsOf(coordinator)).toEqual(["ask", "close", "flush", "mark", "await", "wait", "keep", "open"]);
  });

  it("drops the log of the epoch that ended: a consumer made anew is not handed it again", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await restartRedis();
    await world.untilOpen(2);
    await until(() => coordinator.purges.length > 0, "a purge");
    await world.buy("a", ["u1"]);
    await world.untilApplied(["u0", "u1"]);
    const kinds = (await world.logged()).map(({ message }) =>
      message?.type === "entries" ? `entries of ${message.epoch}` : message?.type,
    );
    expect(kinds).toEqual(["marker", "entries of 2"]);
  });

  it("begins again with another nonce when the log lost the flush", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    coordinator.gate.close();
    await world.buy("a", ["u1"]);
    await restartRedis();
    // the flush, then the marker: the log is emptied in between
    for (const call of ["close", "append", "append"]) {
      coordinator.gate.open();
      coordinator.gate.closeBefore(call);
      await until(() => coordinator.gate.isClosed, `the pause before ${call}`);
    }
    await world.manager.streams.purge(LOG_STREAM, { filter: logSubject(0) });
    coordinator.gate.open();
    world.worker.startApplier();
    await world.untilOpen(2);
    expect(coordinator.attempts).toContain("gap");
    expect(await rowMode()).toBe("keep");
    await world.untilApplied(["u0", "u1"]);
  });

  it("rebuilds a Redis that is older than Postgres", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    const early = await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    const copy = `${world.server.dir}-copy`;
    await cp(world.server.dir, copy, { recursive: true });
    const late = await world.buy("a", ["u2", "u3"]);
    await world.untilApplied(["u2", "u3"]);
    await restartRedis(async () => {
      await rm(world.server.dir, { recursive: true });
      await cp(copy, world.server.dir, { recursive: true });
      await rm(copy, { recursive: true });
    });
    await world.untilOpen(2);
    expect(await rowMode()).toBe("rebuild");
    expect(await world.buy("a", ["u0", "u1", "u2", "u3"])).toEqual([...early, ...late]);
    const answer = await world.reserve("a", ["u4"]);
    expect(answer).toMatchObject({ status: "ok", left: 5 });
    expect(coordinator.attempts.at(-1)).toBe("opened");
  });

  it("rebuilds a Redis that was emptied", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 3);
    const won = await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    await world.redis.flushall();
    await world.untilOpen(2);
    expect(await world.buy("a", ["u0", "u1"])).toEqual(won);
    expect(await world.reserve("a", ["u2"])).toMatchObject({ status: "ok", left: 0 });
  });

  it("rebuilds when a wall was touched, and takes the refused order's answer back", async () => {
    await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 3);
    await until(
      async () => Number((await world.database.sql("SELECT quota FROM sale_shards")).rows[0]?.["quota"]) === 3,
      "the opening stock",
    );
    await world.database.sql("UPDATE sale_shards SET quota = 1 WHERE sale_id = 'a'");
    await world.reserve("a", ["u0", "u1"]);
    await world.untilOpen(2);
    expect(await rowMode()).toBe("rebuild");
    const answer = await world.reserve("a", ["u0", "u1", "u2"]);
    expect(answer).toMatchObject({ status: "ok", left: 0, decisions: [{ decision: "c" }, { decision: "x" }, { decision: "d" }] });
  });

  it("closes a shard that is halted, and opens it when an operator has cleared it", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.database.sql("UPDATE shards SET halted = 'a test'");
    await until(() => coordinator.halts.includes("a test"), "the halt to be reported");
    expect(await world.isOpen()).toBe(false);
    const { epoch } = await world.state();
    await world.database.sql("UPDATE shards SET halted = NULL");
    await world.untilOpen(epoch + 1);
  });

  it("waits one lifetime of the permission where another server may have its keys", async () => {
    const openMs = 1_500;
    /** for each sleep of one lifetime: whether the shard was open at its end */
    const sleeps: boolean[] = [];
    const coordinator = await world.coordinator({
      openMs,
      clock: {
        ...systemClock,
        sleep: async (ms, signal) => {
          await systemClock.sleep(ms, signal);
          if (ms === openMs) sleeps.push(await world.isOpen());
        },
      },
    });
    await world.untilOpen();
    await restartRedis();
    await world.untilOpen(2);
    expect(sleeps).toEqual([]);
    const other = await startRedis();
    try {
      const replica = await redisClient(other.url);
      await world.redis.config("SET", "repl-diskless-sync-delay", 0);
      await replica.replicaof("127.0.0.1", world.server.port);
      await until(async () => (await replica.info("replication")).includes("master_link_status:up"), "the replica to be in step");
      // its first replica gave the server another id
      await world.untilOpen(3);
      await world.redis.del("{s0}:open");
      await world.untilOpen(4);
      expect(sleeps).toEqual([]);
      replica.disconnect();
    } finally {
      await other.stop();
    }
    await restartRedis();
    await world.untilOpen(5);
    expect(sleeps).toEqual([false]);
    expect(stepsOf(coordinator).slice(-3)).toEqual(["wait", "keep", "open"]);
    await world.redis.del("{s0}:open");
    await world.untilOpen(6);
    expect(sleeps).toEqual([false]);
  });

  it("gives way to an attempt whose marker the worker came to first", async () => {
    const first = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    await world.redis.del("{s0}:open");
    const markers = async (): Promise<number> => (await world.logged()).filter(({ message }) => message?.type === "marker").length;
    await until(async () => (await markers()) === 2, "the first marker");
    first.gate.close();
    const second = await world.coordinator();
    await until(async () => (await markers()) === 3, "the second marker");
    world.worker.startApplier();
    await world.untilOpen(3);
    await until(() => second.attempts.length >= 2, "the second attempt to be reported");
    expect(second.attempts).toEqual(["overtaken", "opened"]);
    expect(await world.buy("a", ["u0", "u1"])).toHaveLength(2);
    await world.untilApplied(["u0", "u1"]);
  });
});

describe("an open shard", () => {
  it("stays open while the broker takes long to answer", async () => {
    let renewals = 0;
    let isSlow = false;
    const slow = new AbortController();
    const coordinator = await world.coordinator({
      openMs: 1_500,
      alter: (ports) => ({
        ...ports,
        store: {
          ...ports.store,
          renew: async (request) => {
            renewals += 1;
            return await ports.store.renew(request);
          },
        },
        log: {
          ...ports.log,
          verify: async () => {
            if (isSlow) await systemClock.sleep(30_000, slow.signal);
            return await ports.log.verify();
          },
        },
      }),
    });
    await world.untilOpen();
    isSlow = true;
    const before = renewals;
    await until(() => renewals > before + 6, "renewals beside the slow look");
    expect(await world.isOpen()).toBe(true);
    slow.abort();
    expect(coordinator.attempts).toEqual(["opened"]);
  });
});

describe("two coordinators", () => {
  it.each(["row", "close", "append", "keep", "open"])("one that was paused before `%s` cannot disturb the other's epoch", async (call) => {
    const paused = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await until(() => paused.isHolder(), "the lease");
    paused.gate.close();
    await world.buy("a", ["u1"]);
    await restartRedis();
    for (const stop of call === "append" ? ["close", call] : [call]) {
      paused.gate.open();
      paused.gate.closeBefore(stop);
      await until(() => paused.gate.isClosed, `the pause before ${stop}`);
    }
    const rival = await world.coordinator();
    await until(() => rival.attempts.includes("opened"), "the rival to begin an epoch");
    const { epoch } = await world.untilOpen(2);
    await world.buy("a", ["u2"]);
    const before = paused.attempts.length + paused.faults.length;
    paused.gate.open();
    if (call !== "row") await until(() => paused.attempts.length + paused.faults.length > before, "the paused attempt to end");
    await until(() => !paused.isHolder(), "the paused one to see that it lost the lease");
    await world.buy("a", ["u3"]);
    await world.untilApplied(["u0", "u1", "u2", "u3"]);
    expect((await world.untilOpen()).epoch).toBe(epoch);
    expect(rival.attempts.filter((result) => result === "opened")).toHaveLength(1);
    expect(await world.orders()).toHaveLength(4);
  });

  it("takes an open shard over from one that died, without a new epoch, and carries on where the log ends", async () => {
    const dead = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    await world.untilApplied([]);
    await world.worker.stopApplier();
    await world.buy("a", ["u"]);
    const logged = async (seq: number): Promise<number> =>
      (await world.logged()).filter(({ message }) => message?.type === "entries" && message.entries.some((entry) => entry.seq === seq))
        .length;
    await until(async () => (await logged(2)) === 1, "the dead one's last append");
    dead.gate.close();
    await world.buy("a", ["v"]);
    const heir = await world.coordinator();
    await until(async () => (await logged(3)) === 1, "the heir's first append");
    expect(await logged(2)).toBe(1);
    world.worker.startApplier();
    await world.untilApplied(["u", "v"]);
    expect(heir.attempts).toEqual([]);
    expect((await world.state()).epoch).toBe(1);
  });

  it("stops carrying when it lost the lease", async () => {
    const loser = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 100);
    loser.gate.close();
    const heir = await world.coordinator();
    await until(() => heir.keeper.isOpen, "the heir to hold the open shard");
    loser.gate.open();
    await until(() => !loser.isHolder(), "the loser to see it");
    heir.gate.close();
    await world.worker.stopApplier();
    const { length } = await world.logged();
    await world.buy("a", ["u0"]);
    // the heir's lease has not run out: nobody may carry
    await until(async () => (await world.state()).leaseToken === "" || loser.isHolder(), "the heir's lease to end");
    if (!loser.isHolder()) expect((await world.logged()).length).toBe(length);
    world.worker.startApplier();
    await world.untilApplied(["u0"]);
  });

  it("releases the lease when it stops, so that the next does not wait for it to run out", async () => {
    const first = await world.coordinator({ leaseMs: 60_000 });
    await world.untilOpen();
    await first.stop();
    expect((await world.state()).leaseToken).toBe("");
    const next = await world.coordinator();
    await until(() => next.keeper.isOpen, "the next coordinator to hold the open shard", 5_000);
    expect(next.attempts).toEqual([]);
  });

  it("gives the lease up when it reaches Redis but no worker, so that another can try", async () => {
    const cutOff = await world.coordinator({
      openMs: 500,
      alter: (ports) => ({ ...ports, rows: { ...ports.rows, row: () => Promise.reject(new Error("cut off")) } }),
    });
    await until(() => cutOff.isHolder(), "the lease");
    await world.coordinator();
    await world.untilOpen();
  });

  it.each([
    ["attempt", "attempt = 'rival'", 2],
    ["epoch", "epoch = epoch + 1, applied = 0, attempt = 'rival'", 3],
  ])("verifies a shard anew as soon as the row names another %s, however long the permission would last", async (_what, change, epoch) => {
    const coordinator = await world.coordinator({ openMs: 600_000 });
    await world.untilOpen();
    coordinator.gate.closeBefore("renew");
    await until(() => coordinator.gate.isClosed, "the renewal");
    await world.database.sql(`UPDATE shards SET ${change}`);
    coordinator.gate.open();
    await until(async () => {
      const row = (await world.database.sql("SELECT epoch, attempt FROM shards")).rows[0];
      const state = await world.state();
      return Number(row?.["epoch"]) === epoch && row?.["attempt"] === state.attempt;
    }, `epoch ${epoch} to begin`);
    // the rival may have opened another server, whose permission has to run out first
    await until(() => coordinator.phases.at(-1) === "wait", "the attempt to wait");
    expect(await world.isOpen()).toBe(false);
  });
});

describe("an invariant violated while a shard is open", () => {
  const violationsOf = ({ faults }: { readonly faults: readonly unknown[] }): readonly string[] =>
    faults.flatMap((fault) => (fault instanceof InvariantViolation ? [fault.invariant] : []));
  const untilClosed = (): Promise<void> => until(async () => !(await world.isOpen()), "the shard to be closed", 30_000);

  it("Postgres has less than it had: the shard sells no more, and asks for somebody to look", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", ["u1"]);
    await world.buy("a", ["u2"]);
    await world.untilApplied(["u1", "u2"]);
    // as a restored older copy
    await world.database.sql("UPDATE shards SET applied = applied - 1 WHERE shard = 0");
    await untilClosed();
    expect(violationsOf(coordinator)).toContain(Invariant.history);
    await until(() => coordinator.attempts.filter((result) => result === "gap").length >= 2, "two attempts that find no way", 30_000);
    expect(await world.isOpen()).toBe(false);
    // the right copy again
    await world.database.sql("UPDATE shards SET applied = applied + 1 WHERE shard = 0");
    await world.untilOpen(2);
    expect(await world.orders()).toHaveLength(2);
  });

  it("Postgres has an entry that the shard never made: it is closed, and rebuilt from Postgres", async () => {
    const coordinator = await world.coordinator();
    await world.untilOpen();
    await world.openSale("a", 10);
    const won = await world.buy("a", ["u1"]);
    await world.untilApplied(["u1"]);
    await world.database.sql("UPDATE shards SET applied = applied + 1 WHERE shard = 0");
    await untilClosed();
    expect(violationsOf(coordinator)).toContain(Invariant.settled);
    await world.untilOpen(2);
    expect(await rowMode()).toBe("rebuild");
    expect(await world.buy("a", ["u1"])).toEqual(won);
  });
});
