// Over 400 lines: one kind of message after the other against the same database; a second file would make it again.
import { connect, createServer, type AddressInfo } from "node:net";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { encodeLogRecord, type MarkerRecord } from "#protocol";
import type { Entry } from "#lua/shard/entry";
import { freshDatabase, givenSale, until, waitingForLocks, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database, type Row } from "../db/database.ts";
import { changeDraining } from "../db/drain-lock.ts";
import { readShard } from "../db/shard-row.ts";
import { KnownPositions, TRUSTED_MS } from "./known.ts";
import { applyRecord, type Applied } from "./apply.ts";
import type { ApplyStore, ApplyTransaction } from "./apply-store.ts";
import { postgresApplyStore } from "./postgres.ts";

let empty: TestDatabase;
let database: Database;
let store: ApplyStore;
let shard = -1;
let streamSeq = 0;

beforeAll(async () => {
  empty = await freshDatabase();
  database = await connectDatabase({ url: empty.url, pool: 4, name: "apply-test" });
  await ensureShards(database.sql, 100);
  store = postgresApplyStore(database);
});
afterAll(async () => {
  await database.close();
  await empty.drop();
});

/** Every test has a shard of its own in epoch 1, with a sale `s<shard>` of 5 units taken in and a grant `more` of 3 sent. */
const sale = (): string => `s${shard}`;
beforeEach(async () => {
  shard += 1;
  streamSeq = 0;
  await database.sql("UPDATE shards SET epoch = 1, attempt = 'first' WHERE shard = ?", [shard]);
  await givenSale(database.sql, {
    id: sale(),
    totalUnits: 8,
    limitPerBuyer: 2,
    soldOutVersion: 7,
    returnsSeq: 7,
    shards: [{ shard, quotaUnits: 5 }],
  });
  await database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, 'more', ?, 3, 'added')", [sale(), shard]);
});

const order = (seq: number, ...purchases: string[]): Entry => ({
  kind: "o",
  seq,
  saleId: sale(),
  atMs: 1_000 + seq,
  count: purchases.length,
  purchases: purchases.join(" "),
});
const granted = (seq: number, grantId = "more", units = 3): Entry => ({
  kind: "g",
  seq,
  saleId: sale(),
  atMs: 1_000 + seq,
  grantId,
  units,
});

const withdrawn = (seq: number, units: number, receiver: number): Entry => ({
  kind: "w",
  seq,
  saleId: sale(),
  atMs: 1_000 + seq,
  receiver,
  units,
});

const deliver = (body: Uint8Array, through: ApplyStore = store): Promise<Applied> =>
  applyRecord(through, { shard, streamSeq: (streamSeq += 1), body });
const apply = (entries: readonly Entry[], epoch = 1, through: ApplyStore = store): Promise<Applied> =>
  deliver(encodeLogRecord({ type: "entries", shard, epoch, entries }), through);
const mark = (change: Partial<MarkerRecord>): Promise<Applied> =>
  deliver(encodeLogRecord({ type: "marker", shard, begins: 2, from: 1, redisEpoch: 1, upto: "1-0", attempt: "second", ...change }));

const row = () => readShard(database.em(), shard);
const stock = async (): Promise<{ quota: number; sold: number }> => {
  const { rows } = await database.sql("SELECT quota, sold FROM sale_shards WHERE shard = ?", [shard]);
  return { quota: Number(rows[0]?.["quota"]), sold: Number(rows[0]?.["sold"]) };
};
const orders = async (): Promise<string[]> => {
  const { rows } = await database.sql(
    "SELECT uid, purchase_key, epoch, seq, idx, units, state FROM orders WHERE shard = ? ORDER BY epoch, seq, idx",
    [shard],
  );
  const text = (r: Row, ...names: string[]): string => names.map((name) => String(r[name])).join("-");
  return rows.map(
    (r) => `${text(r, "epoch", "seq", "idx")} ${text(r, "uid")}:${text(r, "purchase_key")}:${text(r, "units")} ${text(r, "state")}`,
  );
};
const parked = async (): Promise<number> =>
  Number((await database.sql("SELECT count(*) AS n FROM dead_letters WHERE shard = ?", [shard])).rows[0]?.["n"]);

describe("entries", () => {
  it("are stored with the position, in one transaction", async () => {
    const applied = await apply([order(1, "ann", "null"), order(2, "bob:key:2"), granted(3)]);
    expect(applied).toMatchObject({ kind: "applied", applied: 3, orders: 3, wall: false, rejected: [] });
    expect(await orders()).toEqual(["1-1-0 ann::1 pending_payment", "1-1-1 null::1 pending_payment", "1-2-0 bob:key:2 pending_payment"]);
    expect(await stock()).toEqual({ quota: 8, sold: 4 });
    expect(await row()).toMatchObject({ epoch: 1, applied: 3, wall: false, gap: null, halted: null });
    const { rows } = await database.sql("SELECT state FROM grants WHERE sale_id = ?", [sale()]);
    expect(rows).toEqual([{ state: "done" }]);
  });

  it("that were applied are skipped: a repeat, and the known part of an overlapping message", async () => {
    await apply([order(1, "ann")]);
    expect(await apply([order(1, "ann")])).toMatchObject({ kind: "repeated", applied: 1, orders: 0 });
    expect(await apply([order(1, "ann"), order(2, "bob")])).toMatchObject({ kind: "applied", applied: 2, orders: 1 });
    expect(await stock()).toEqual({ quota: 5, sold: 2 });
    expect((await row()).wall).toBe(false);
  });

  it("that do not follow leave a gap in the row and nothing else; what follows clears it", async () => {
    await apply([order(1, "ann")]);
    expect(await apply([order(3, "cid")])).toEqual({ kind: "gap", at: 1 });
    expect(await row()).toMatchObject({ applied: 1, gap: { at: 1, streamSeq: 2 } });
    expect(await orders()).toHaveLength(1);
    await apply([order(2, "bob"), order(3, "cid")]);
    expect(await row()).toMatchObject({ applied: 3, gap: null });
  });

  it("of another epoch are ignored", async () => {
    expect(await apply([order(1, "ann")], 2)).toEqual({ kind: "ignored", epoch: 1 });
    await mark({});
    expect(await apply([order(1, "ann")], 1)).toEqual({ kind: "ignored", epoch: 2 });
    expect(await orders()).toEqual([]);
  });

  it("sell what an earlier grant of the same message brought", async () => {
    const applied = await apply([granted(1), order(2, "a", "b", "c", "d"), order(3, "e", "f", "g", "h")]);
    expect(applied).toMatchObject({ wall: false, orders: 8 });
    expect(await stock()).toEqual({ quota: 8, sold: 8 });
  });

  it("lower sold when a returned unit was taken in", async () => {
    await database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, 'back', ?, 1, 'returned')", [sale(), shard]);
    await apply([order(1, "ann", "bob"), granted(2, "back", 1)]);
    expect(await stock()).toEqual({ quota: 5, sold: 1 });
  });
});

describe("a withdrawal", () => {
  const sent = async () =>
    (
      await database.sql("SELECT id, shard, units, kind, state, flagged, from_shard FROM grants WHERE sale_id = ? AND kind = 'transfer'", [
        sale(),
      ])
    ).rows;
  const other = 99;
  beforeEach(async () => {
    await database.sql("INSERT INTO sale_shards (sale_id, shard) VALUES (?, ?)", [sale(), other]);
  });

  it("leaves the donor's quota and becomes the receiver's grant, in one transaction", async () => {
    expect(await apply([order(1, "ann"), withdrawn(2, 3, other), order(3, "bob")])).toMatchObject({ kind: "applied", wall: false });
    expect(await stock()).toEqual({ quota: 2, sold: 2 });
    expect(await sent()).toEqual([
      { id: `t${shard}-1-2`, shard: other, units: "3", kind: "transfer", state: "sent", flagged: false, from_shard: shard },
    ]);
  });

  it("happens once, however often its entry comes", async () => {
    await apply([withdrawn(1, 2, other)]);
    expect(await apply([withdrawn(1, 2, other)])).toMatchObject({ kind: "repeated" });
    await apply([withdrawn(1, 2, other), withdrawn(2, 1, other)]);
    expect(await stock()).toEqual({ quota: 2, sold: 0 });
    expect((await sent()).map((grant) => grant["units"])).toEqual(["2", "1"]);
  });

  it("raises the receiver's quota when the receiver tells that it took the units in", async () => {
    await apply([withdrawn(1, 2, other)]);
    await database.sql("UPDATE shards SET epoch = 1 WHERE shard = ?", [other]);
    const arrival = { ...granted(1, `t${shard}-1-1`, 2) };
    const body = encodeLogRecord({ type: "entries", shard: other, epoch: 1, entries: [arrival] });
    expect(await applyRecord(store, { shard: other, streamSeq: 1, body })).toMatchObject({ kind: "applied", wall: false });
    const { rows } = await database.sql("SELECT quota FROM sale_shards WHERE sale_id = ? AND shard = ?", [sale(), other]);
    expect(rows).toEqual([{ quota: "2" }]);
    expect((await sent()).map((grant) => grant["state"])).toEqual(["done"]);
    await database.sql("UPDATE shards SET epoch = 0, applied = 0 WHERE shard = ?", [other]);
  });

  it("of units that are sold touches a wall and changes nothing else: the units stay where they are", async () => {
    expect(await apply([order(1, "ann", "bob"), withdrawn(2, 4, other)])).toMatchObject({ kind: "applied", wall: true, overdrawn: true });
    expect(await stock()).toEqual({ quota: 5, sold: 2 });
    expect(await sent()).toEqual([]);
    expect((await row()).wall).toBe(true);
  });

  it("for a shard that does not have the sale goes back to the donor", async () => {
    expect(await apply([withdrawn(1, 2, 98)])).toMatchObject({ kind: "applied", wall: false });
    expect(await sent()).toMatchObject([{ shard, units: "2", from_shard: shard }]);
  });

  it("for a shard that drains goes back to the donor, also when that begins at the same moment", async () => {
    let applying: Promise<Applied> | undefined;
    await database.transaction(async (sql) => {
      await sql("UPDATE shards SET draining = true WHERE shard = ?", [other]);
      await changeDraining(sql);
      applying = apply([withdrawn(1, 2, other)]);
      await until(async () => (await waitingForLocks(sql)) > 0, "the withdrawal to wait");
    });
    expect(await applying).toMatchObject({ kind: "applied", wall: false });
    await database.sql("UPDATE shards SET draining = false");
    await apply([withdrawn(2, 1, other)]);
    expect(await sent()).toMatchObject([
      { shard, units: "2", from_shard: shard },
      { shard: other, units: "1", from_shard: shard },
    ]);
  });

  it("of a sale that the shard does not have halts it", async () => {
    expect(await apply([{ ...withdrawn(1, 1, other), saleId: "unheard-of" }])).toMatchObject({ kind: "halted" });
  });
});

describe("a touched wall", () => {
  it("makes a second order of the same buyer and key a rejected row", async () => {
    await apply([order(1, "ann")]);
    const applied = await apply([order(2, "ann", "bob"), order(3, "ann:other:1", "bob")]);
    expect(applied).toMatchObject({ kind: "applied", applied: 3, orders: 2, wall: true });
    expect(applied.kind === "applied" && applied.rejected.map(({ seq, index }) => [seq, index])).toEqual([
      [2, 0],
      [3, 1],
    ]);
    expect(await orders()).toEqual([
      "1-1-0 ann::1 pending_payment",
      "1-2-0 ann::1 rejected",
      "1-2-1 bob::1 pending_payment",
      "1-3-0 ann:other:1 pending_payment",
      "1-3-1 bob::1 rejected",
    ]);
    expect(await stock()).toEqual({ quota: 5, sold: 3 });
    expect((await row()).wall).toBe(true);
    // A lost answer is made up for by the repeat.
    expect(await apply([order(3, "ann:other:1", "bob")])).toMatchObject({
      kind: "repeated",
      wall: true,
      rejected: [{ seq: 2 }, { seq: 3 }],
    });
  });

  it("rejects exactly the orders that the quota does not hold, in the order of their positions", async () => {
    const applied = await apply([order(1, "a", "b:k:2", "c"), order(2, "d:k:2", "e", "f")]);
    expect(applied).toMatchObject({
      kind: "applied",
      orders: 4,
      wall: true,
      rejected: [
        { seq: 2, index: 0 },
        { seq: 2, index: 2 },
      ],
    });
    expect(await stock()).toEqual({ quota: 5, sold: 5 });
    expect((await orders()).filter((line) => line.endsWith("rejected"))).toEqual(["1-2-0 d:k:2 rejected", "1-2-2 f::1 rejected"]);
    expect((await row()).wall).toBe(true);
  });

  it("is also a grant that was done before: nothing is raised twice", async () => {
    await apply([granted(1)]);
    expect(await apply([granted(2)])).toMatchObject({ kind: "applied", wall: true, grantTwice: true });
    expect(await stock()).toEqual({ quota: 8, sold: 0 });
  });

  it("does not touch another sale in the same message", async () => {
    const other = `other${shard}`;
    await givenSale(database.sql, { id: other, totalUnits: 1, shards: [{ shard, quotaUnits: 1 }] });
    const two = { ...order(1, "ann", "bob"), saleId: other };
    expect(await apply([two, order(2, "ann", "bob")])).toMatchObject({ orders: 3, wall: true, rejected: [{ seq: 1, index: 1 }] });
    expect((await orders()).filter((line) => line.endsWith("pending_payment"))).toHaveLength(3);
  });
});

describe("a marker", () => {
  it("keeps when Redis ended where Postgres is, and withdraws the sold-out flags", async () => {
    await apply([order(1, "ann")]);
    expect(await mark({ upto: "1-1" })).toEqual({ kind: "began", epoch: 2, mode: "keep" });
    expect(await row()).toEqual({
      shard,
      epoch: 2,
      applied: 0,
      attempt: "second",
      mode: "keep",
      flagged: false,
      gap: null,
      wall: false,
      halted: null,
      draining: false,
    });
    const { rows } = await database.sql("SELECT returns_seq, sold_out_version FROM sales WHERE id = ?", [sale()]);
    expect(rows).toEqual([{ returns_seq: "8", sold_out_version: null }]);
    expect(await apply([order(1, "bob")], 2)).toMatchObject({ kind: "applied", applied: 1 });
  });

  it("tells of free units of a sale that had been flagged, until an epoch begins without", async () => {
    const flag = () => database.sql("UPDATE sales SET ever_sold_out = true WHERE id = ?", [sale()]);
    expect(await mark({ upto: "1-0" })).toMatchObject({ kind: "began" });
    expect(await row()).toMatchObject({ epoch: 2, flagged: false });
    await flag();
    expect(await mark({ from: 2, begins: 3, redisEpoch: 2, upto: "2-0" })).toMatchObject({ kind: "began", mode: "keep" });
    expect(await row()).toMatchObject({ epoch: 3, flagged: true });
    await database.sql("UPDATE sale_shards SET sold = quota WHERE sale_id = ?", [sale()]);
    expect(await mark({ from: 3, begins: 4, redisEpoch: 3, upto: "3-0" })).toMatchObject({ kind: "began", mode: "keep" });
    expect(await row()).toMatchObject({ epoch: 4, flagged: false });
  });

  it("waits for what Redis had flushed before it", async () => {
    expect(await mark({ upto: "1-2" })).toEqual({ kind: "gap", at: 0 });
    expect(await row()).toMatchObject({ epoch: 1, gap: { at: 0, streamSeq: 1 } });
    await apply([order(1, "ann"), order(2, "bob")]);
    expect(await mark({ upto: "1-2" })).toMatchObject({ kind: "began", mode: "keep" });
  });

  it.each([
    ["Redis is behind", { upto: "1-0" }],
    ["Redis has another epoch", { redisEpoch: 3, upto: "3-1" }],
    ["Redis is of a later epoch than its outbox", { redisEpoch: 3, upto: "1-1" }],
    ["Redis has none", { redisEpoch: 0, upto: "0-0" }],
    ["the outbox is not of Redis's epoch", { redisEpoch: 1, upto: "0-1" }],
  ])("rebuilds when %s", async (_, change) => {
    await apply([order(1, "ann")]);
    expect(await mark(change)).toMatchObject({ kind: "began", epoch: 2, mode: "rebuild" });
  });

  it("rebuilds after a wall, even if the positions are equal", async () => {
    await apply([order(1, "ann", "ann")]);
    expect(await mark({ upto: "1-1" })).toMatchObject({ kind: "began", mode: "rebuild" });
    expect((await row()).wall).toBe(false);
  });

  it("of an attempt that was overtaken is ignored", async () => {
    await mark({});
    expect(await mark({ attempt: "third" })).toEqual({ kind: "ignored", epoch: 2 });
    expect(await row()).toMatchObject({ epoch: 2, attempt: "second" });
  });

  it("rebuilds a shard that never had an epoch", async () => {
    await database.sql("UPDATE shards SET epoch = 0, attempt = '' WHERE shard = ?", [shard]);
    expect(await mark({ begins: 1, from: 0, redisEpoch: 0, upto: "0-0" })).toMatchObject({ kind: "began", epoch: 1, mode: "rebuild" });
  });
});

describe("a message that cannot be read", () => {
  it("is parked once, and asks for its entries again", async () => {
    await apply([order(1, "ann")]);
    const body = new TextEncoder().encode('{"v":1,"shard":');
    expect(await deliver(body)).toEqual({ kind: "unreadable", first: true });
    expect(await row()).toMatchObject({ applied: 1, gap: { at: 1, streamSeq: 2 }, halted: null });
    expect(await applyRecord(store, { shard, streamSeq: 2, body })).toEqual({ kind: "unreadable", first: false });
    // The same sequence number with another body: the stream was lost and made anew.
    expect(await applyRecord(store, { shard, streamSeq: 2, body: new Uint8Array([0]) })).toEqual({ kind: "unreadable", first: true });
    expect(await parked()).toBe(2);
    expect(await apply([order(2, "bob")])).toMatchObject({ kind: "applied" });
  });

  it("is also one that belongs to another shard", async () => {
    const body = encodeLogRecord({ type: "entries", shard: shard + 1, epoch: 1, entries: [order(1, "ann")] });
    expect(await deliver(body)).toMatchObject({ kind: "unreadable" });
    expect(await orders()).toEqual([]);
  });
});

describe("an entry that cannot be applied", () => {
  it.each([
    ["a sale that the shard does not have", () => ({ ...order(2, "bob"), saleId: "nowhere" })],
    ["a grant that nobody recorded", () => granted(2, "unheard-of")],
    ["a grant of other units", () => granted(2, "more", 4)],
    ["a purchase that is none", () => order(2, "b b b!")],
    ["a count that is wrong", () => ({ ...order(2, "bob"), count: 2 })],
    ["a returned unit that was never sold", () => granted(2, "back", 1)],
  ])("halts the shard and applies nothing: %s", async (_, entry) => {
    await database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, 'back', ?, 1, 'returned')", [sale(), shard]);
    expect(await apply([granted(1), entry()])).toMatchObject({ kind: "halted", first: true });
    const { halted, applied } = await row();
    expect({ halted: halted !== null, applied }).toEqual({ halted: true, applied: 0 });
    expect(await orders()).toEqual([]);
    expect(await stock()).toEqual({ quota: 5, sold: 0 });
    expect(await parked()).toBe(1);
  });

  it("is applied when an operator has repaired what it needs; the halt ends", async () => {
    expect(await apply([granted(1, "late", 2)])).toMatchObject({ kind: "halted" });
    await database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, 'late', ?, 2, 'added')", [sale(), shard]);
    expect(await apply([granted(1, "late", 2)])).toMatchObject({ kind: "applied" });
    expect(await row()).toMatchObject({ applied: 1, halted: null });
  });
});

/** Between a worker and Postgres: hands everything on, but cuts the worker off when it has handed on `statement`. */
const proxyThatSwallows = async (statement: string): Promise<{ url: string; close(): void }> => {
  const target = new URL(empty.url);
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    const end = (): void => void client.destroy();
    upstream
      .on("data", (data) => client.write(data))
      .on("error", end)
      .on("close", end);
    client
      .on("error", () => undefined)
      .on("data", (data) => {
        upstream.write(data);
        if (!data.includes(statement)) return;
        upstream.removeAllListeners("data").resume().end();
        client.destroy();
      });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(empty.url);
  url.hostname = "127.0.0.1";
  url.port = String((server.address() as AddressInfo).port);
  return { url: url.href, close: () => void server.close() };
};

describe("a lost connection", () => {
  const kill = async (pid: number): Promise<void> => {
    const other = new Client({ connectionString: empty.url });
    await other.connect();
    await other.query("SELECT pg_terminate_backend($1, 5000)", [pid]);
    await other.end();
  };

  /** Calls `at` with the backend's pid inside the transaction, when `advance` is done: only COMMIT is missing. */
  const beforeCommit = (at: (pid: number) => Promise<void>): ApplyStore => ({
    transaction: (number, work) =>
      store.transaction(number, (locked, transaction) =>
        work(locked, {
          ...transaction,
          advance: async (applied, wall) => {
            await transaction.advance(applied, wall);
            const { rows } = await database.sql(
              "SELECT pid FROM pg_stat_activity WHERE application_name = 'apply-test' AND datname = current_database() AND state = 'idle in transaction'",
            );
            await at(Number(rows[0]?.["pid"]));
          },
        } satisfies ApplyTransaction),
      ),
  });

  it("before COMMIT leaves nothing, and the repeat stores it once", async () => {
    await expect(apply([order(1, "ann")], 1, beforeCommit(kill))).rejects.toThrow();
    expect(await orders()).toEqual([]);
    expect(await apply([order(1, "ann")])).toMatchObject({ kind: "applied", orders: 1 });
  });

  it("that swallows the answer to COMMIT is a fault, and the repeat is skipped", async () => {
    const proxy = await proxyThatSwallows("COMMIT");
    const through = await connectDatabase({ url: proxy.url, pool: 1, name: "proxied" });
    await expect(apply([order(1, "ann")], 1, postgresApplyStore(through))).rejects.toThrow();
    await through.close();
    proxy.close();
    await until(async () => (await row()).applied === 1, "the commit whose answer was lost");
    expect(await apply([order(1, "ann")])).toMatchObject({ kind: "repeated", applied: 1 });
    expect(await stock()).toEqual({ quota: 5, sold: 1 });
  });

  it("apart, two workers with the same message wait for each other, and one of them stores it", async () => {
    let resume = (): void => undefined;
    const held = new Promise<void>((resolve) => (resume = resolve));
    let reached = false;
    const first = apply(
      [order(1, "ann")],
      1,
      beforeCommit(async () => {
        reached = true;
        await held;
      }),
    );
    await until(() => reached, "the first worker to hold the row");
    const second = apply([order(1, "ann")]);
    const waiting = async (): Promise<boolean> => {
      const { rows } = await database.sql("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
      return rows.length > 0;
    };
    await until(waiting, "the second worker to wait");
    resume();
    expect([(await first).kind, (await second).kind]).toEqual(["applied", "repeated"]);
    expect((await row()).wall).toBe(false);
  });

  it("of a worker that is paused inside its transaction frees the row for another", async () => {
    let resume = (): void => undefined;
    const paused = new Promise<void>((resolve) => (resume = resolve));
    let reached = false;
    const sleeping = apply(
      [order(1, "ann")],
      1,
      beforeCommit(async () => {
        reached = true;
        await paused;
      }),
    ).catch((error: unknown) => error);
    await until(() => reached, "the first worker to hold the row");
    expect(await apply([order(1, "ann")])).toMatchObject({ kind: "applied", orders: 1 });
    resume();
    expect(await sleeping).toBeInstanceOf(Error);
    expect(await orders()).toEqual(["1-1-0 ann::1 pending_payment"]);
  });
});

describe("what a worker remembers of a shard", () => {
  /** Counts the transactions. */
  interface Counting {
    readonly through: ApplyStore;
    readonly known: KnownPositions;
    nowMs: number;
    transactions: number;
  }
  const counting = (): Counting => {
    const counted: Counting = {
      known: new KnownPositions({ monotonicMs: () => counted.nowMs }, TRUSTED_MS),
      nowMs: 0,
      transactions: 0,
      through: {
        transaction: (of, work) => {
          counted.transactions += 1;
          return store.transaction(of, work);
        },
      },
    };
    return counted;
  };
  const hand = (counted: Counting, message: Parameters<typeof encodeLogRecord>[0]): Promise<Applied> =>
    applyRecord(counted.through, { shard, streamSeq: (streamSeq += 1), body: encodeLogRecord(message) }, counted.known);
  const entries = (epoch: number, ...list: readonly Entry[]) => ({ type: "entries", shard, epoch, entries: list }) as const;
  const marker = (from: number, upto: string) =>
    ({ type: "marker", shard, begins: from + 1, from, redisEpoch: from, upto, attempt: `after-${from}` }) as const;

  it("is enough to pass a replayed log, and says the same as Postgres would", async () => {
    const counted = counting();
    const log = [entries(1, order(1, "ann")), entries(1, order(2, "bob")), marker(1, "1-2"), entries(2, order(1, "cid"))];
    for (const message of log) await hand(counted, message);
    expect(counted.transactions).toBe(4);
    const again = [];
    for (const message of log) again.push(await hand(counted, message));
    expect(counted.transactions).toBe(4);
    const asked = [];
    for (const message of log) asked.push(await deliver(encodeLogRecord(message)));
    expect(again).toEqual(asked);
    expect(again.map(({ kind }) => kind)).toEqual(["ignored", "ignored", "ignored", "repeated"]);
    // and is not believed for ever
    counted.nowMs += 60_000;
    await hand(counted, entries(1, order(1, "ann")));
    expect(counted.transactions).toBe(5);
    expect(await hand(counted, entries(2, order(1, "cid"), order(2, "dan")))).toMatchObject({ kind: "applied", orders: 1 });
  });

  it("is nothing of a shard whose wall was touched, and is forgotten when the store fails", async () => {
    const counted = counting();
    await hand(counted, entries(1, order(1, "ann")));
    await hand(counted, entries(1, order(2, "ann")));
    expect(await hand(counted, entries(1, order(2, "ann")))).toMatchObject({ kind: "repeated", wall: true, rejected: [{ seq: 2 }] });
    expect(await hand(counted, entries(1, order(1, "ann")))).toMatchObject({ kind: "repeated", applied: 1 });
    expect(counted.transactions).toBe(3);
    const failing: ApplyStore = { transaction: () => Promise.reject(new Error("away")) };
    const body = encodeLogRecord(entries(1, order(3, "bob")));
    await expect(applyRecord(failing, { shard, streamSeq: (streamSeq += 1), body }, counted.known)).rejects.toThrow("away");
    await hand(counted, entries(1, order(1, "ann")));
    expect(counted.transactions).toBe(4);
  });
});
