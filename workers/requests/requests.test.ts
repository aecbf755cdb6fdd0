import { RequestStrategy, type NatsConnection } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectNats, systemClock } from "#program";
import { formatOrderId, requests, type OpenSale, type Reply } from "#protocol";
import { freshDatabase, startNats, until, waitingForLocks, type NatsServer, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { changeDraining } from "../db/drain-lock.ts";
import { postgresOrdersStore } from "../orders/postgres.ts";
import type { RestoreEnd } from "../restore/restore.ts";
import { OPENING_LOCK } from "../sales/commands.ts";
import { postgresArchiveStore } from "../sales/archive-stores.ts";
import { requestHandlers } from "./handlers.ts";
import { serve, type RequestServer } from "#program/requests/serve";

let empty: TestDatabase;
let database: Database;
let nats: NatsServer;
let connection: NatsConnection;
let server: RequestServer;
const faults: string[] = [];
let changes = 0;
let restored: RestoreEnd = "done";
const away = () => Promise.reject(new Error("away"));
const NO_REDIS = { stock: away, state: away };
const ordersPorts = (of: Database) => ({
  store: postgresOrdersStore(of),
  observer: { changed: () => undefined, paid: () => undefined },
  tell: () => undefined,
});
const shardAdmin = { facts: () => Promise.resolve([]), change: () => Promise.reject(new Error("not asked")) };

beforeAll(async () => {
  [empty, nats] = await Promise.all([freshDatabase(), startNats()]);
  database = await connectDatabase({ url: empty.url, pool: 4, name: "requests-test" });
  connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "requests-test");
  await ensureShards(database.sql, 2);
  server = serve({
    connection,
    fault: (subject) => faults.push(subject),
    handlers: requestHandlers({
      database,
      shards: 2,
      shardAdmin,
      orders: ordersPorts(database),
      archive: { store: postgresArchiveStore(database), shards: NO_REDIS },
      clock: systemClock,
      restore: (_request, progress) => {
        progress(2_000, 3_000);
        return Promise.resolve(restored);
      },
      changed: () => (changes += 1),
    }),
  });
});
afterAll(async () => {
  await server.close();
  await connection.close();
  await Promise.all([nats.stop(), database.close()]);
  await empty.drop();
});

const ask = async (subject: string, body: unknown): Promise<Reply<never>> =>
  (await connection.request(subject, JSON.stringify(body), { timeout: 5_000 })).json();
const refused = (code: string) => ({ ok: false, code, detail: expect.any(String) });

let saleId = "";
let sales = 0;
beforeEach(() => {
  sales += 1;
  saleId = `sale-${sales}`;
});
const definition = (change: Partial<OpenSale> = {}) => ({
  id: saleId,
  title: "A chair",
  units: 100,
  opensAtMs: 1_000_000_000_000,
  closesAtMs: 4_000_000_000_000,
  ...change,
});
const flag = (id: string) => database.sql("UPDATE sales SET sold_out_version = returns_seq, ever_sold_out = true WHERE id = ?", [id]);
const grantOf = async (id: string, grantId: string) =>
  (await database.sql("SELECT units, kind, state, flagged FROM grants WHERE sale_id = ? AND id = ?", [id, grantId])).rows[0];

describe("opening a sale", () => {
  it("records it with its opening stock as a grant; Redis gets units only from the sweep", async () => {
    const before = changes;
    const answer = await ask(requests.openSale.subject, definition());
    expect(answer).toMatchObject({
      ok: true,
      value: {
        id: saleId,
        campaign: "default",
        totalUnits: 100,
        limitPerBuyer: 1,
        state: "open",
        version: 1,
        shards: [expect.any(Number)],
      },
    });
    expect(changes).toBe(before + 1);
    expect(await grantOf(saleId, "opening")).toEqual({ units: "100", kind: "opening", state: "sent", flagged: false });
    const { rows } = await database.sql("SELECT quota, sold FROM sale_shards WHERE sale_id = ?", [saleId]);
    expect(rows).toEqual([{ quota: "0", sold: "0" }]);
  });

  it("again is a repeat, also by many at once and after stock was added; another definition is a conflict", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(requests.openSale.subject, definition())));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 5 });
    expect(await ask(requests.openSale.subject, definition())).toMatchObject({ ok: true, value: { totalUnits: 105 } });
    expect(await ask(requests.openSale.subject, definition({ units: 105 }))).toEqual(refused("conflict"));
    expect(await ask(requests.openSale.subject, definition({ title: "Another" }))).toEqual(refused("conflict"));
  });

  it("takes a request of a later version without what it does not know", async () => {
    const opened = await ask(requests.openSale.subject, { ...definition(), badge: "new" });
    expect(opened).toEqual(await ask(requests.openSale.subject, definition()));
    expect(opened).toMatchObject({ ok: true, value: { id: saleId } });
  });

  it("looks for a shard only when no other opening does", async () => {
    let opening: Promise<unknown> | undefined;
    await database.transaction(async (sql) => {
      await sql("SELECT pg_advisory_xact_lock(?)", [OPENING_LOCK]);
      opening = ask(requests.openSale.subject, definition());
      await until(async () => (await waitingForLocks(sql)) > 0, "the opening to wait");
    });
    expect(await opening).toMatchObject({ ok: true });
  });

  it("deals nothing to a shard that begins to drain at the same moment, opening or adding", async () => {
    const two = definition({ shardCount: 2 });
    await ask(requests.openSale.subject, two);
    const another = `${saleId}-another`;
    let asked: Promise<unknown[]> | undefined;
    await database.transaction(async (sql) => {
      await sql("UPDATE shards SET draining = true WHERE shard = 0");
      await changeDraining(sql);
      asked = Promise.all([
        ask(requests.openSale.subject, definition({ id: another })),
        ask(requests.addUnits.subject, { saleId: two.id, grantId: "more", units: 10 }),
      ]);
      await until(async () => (await waitingForLocks(sql)) === 2, "both to wait");
    });
    expect(await asked).toMatchObject([{ ok: true }, { ok: true }]);
    await database.sql("UPDATE shards SET draining = false");
    const { rows } = await database.sql("SELECT DISTINCT shard FROM grants WHERE sale_id = ? OR (sale_id = ? AND id = 'more')", [
      another,
      two.id,
    ]);
    expect(rows).toEqual([{ shard: 1 }]);
  });

  it("spreads the sales over the shards", async () => {
    await database.sql("UPDATE sales SET state = 'closed'");
    const shards: unknown[] = [];
    for (const name of ["a", "b", "c", "d"]) {
      const answer = await ask(requests.openSale.subject, definition({ id: `${saleId}${name}` }));
      shards.push(...((answer.ok ? answer.value : { shards: [] }) as { shards: number[] }).shards);
    }
    expect(shards.map(String).toSorted((a, b) => a.localeCompare(b))).toEqual(["0", "0", "1", "1"]);
  });
});

describe("changing a sale", () => {
  it("raises the version once a change; closed is final", async () => {
    await ask(requests.openSale.subject, definition());
    expect(await ask(requests.changeSale.subject, { id: saleId, state: "paused" })).toMatchObject({
      value: { state: "paused", version: 2 },
    });
    expect(await ask(requests.changeSale.subject, { id: saleId, state: "paused" })).toMatchObject({
      value: { state: "paused", version: 2 },
    });
    expect(await ask(requests.changeSale.subject, { id: saleId, state: "closed" })).toMatchObject({
      value: { state: "closed", version: 3 },
    });
    expect(await ask(requests.changeSale.subject, { id: saleId, state: "open" })).toEqual(refused("conflict"));
    expect(await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 5 })).toEqual(refused("conflict"));
    expect(await ask(requests.changeSale.subject, { id: "nowhere", state: "open" })).toEqual(refused("not_found"));
  });
});

describe("adding units", () => {
  it("records a grant once per id and withdraws the sold-out flag", async () => {
    await ask(requests.openSale.subject, definition());
    await flag(saleId);
    const add = { saleId, grantId: "more", units: 5 };
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask(requests.addUnits.subject, add)));
    for (const answer of answers) expect(answer).toMatchObject({ ok: true, value: { totalUnits: 105, version: 2 } });
    expect(await grantOf(saleId, "more")).toEqual({ units: "5", kind: "added", state: "sent", flagged: true });
    expect(await ask(requests.soldOutFacts.subject, { saleId })).toMatchObject({
      ok: true,
      value: { returnsSeq: 1, sentGrants: 2, soldOut: false },
    });
    expect(await ask(requests.addUnits.subject, { ...add, units: 6 })).toEqual(refused("conflict"));
    expect(await ask(requests.addUnits.subject, { ...add, grantId: "opening" })).toEqual(refused("conflict"));
    expect(await ask(requests.addUnits.subject, { ...add, saleId: "nowhere" })).toEqual(refused("not_found"));
  });

  it("marks a grant of a sale that was flagged before, even if the flag is gone already", async () => {
    await ask(requests.openSale.subject, definition());
    await ask(requests.soldOutSet.subject, { saleId, returnsSeq: 0 });
    await ask(requests.addUnits.subject, { saleId, grantId: "one", units: 1 });
    await ask(requests.addUnits.subject, { saleId, grantId: "two", units: 1 });
    expect(await grantOf(saleId, "two")).toMatchObject({ flagged: true });
  });

  it("refuses more units than a sale may have", async () => {
    await ask(requests.openSale.subject, definition({ units: 999_999_999 }));
    expect(await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 2 })).toEqual(refused("bad_request"));
    expect(await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 1 })).toMatchObject({
      ok: true,
      value: { totalUnits: 1_000_000_000 },
    });
  });
});

describe("the sold-out flag", () => {
  it("is set only at the returns_seq that was seen, and listed with it", async () => {
    await ask(requests.openSale.subject, definition());
    const facts = await ask(requests.soldOutFacts.subject, { saleId });
    const epochs = [[expect.any(Number), 0]];
    // nothing has come to its quota, and nothing is sold: what makes it a shard with units is the grant
    const full = [expect.any(Number)];
    expect(facts).toEqual({ ok: true, value: { returnsSeq: 0, sentGrants: 1, soldOut: false, epochs, full } });
    await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 5 });
    expect(await ask(requests.soldOutSet.subject, { saleId, returnsSeq: 0 })).toEqual(refused("overtaken"));
    expect(await ask(requests.soldOutSet.subject, { saleId, returnsSeq: 1 })).toEqual({ ok: true, value: {} });
    expect(await ask(requests.soldOutFlags.subject, {})).toMatchObject({
      ok: true,
      value: expect.arrayContaining([{ saleId, version: 1 }]),
    });
    expect(await ask(requests.soldOutFacts.subject, { saleId })).toMatchObject({ value: { soldOut: true } });
    await ask(requests.addUnits.subject, { saleId, grantId: "again", units: 5 });
    expect(JSON.stringify(await ask(requests.soldOutFlags.subject, {}))).not.toContain(saleId);
  });

  it("is never answered from a query that began before the question", async () => {
    await ask(requests.openSale.subject, definition());
    for (let round = 0; round < 20; round += 1) {
      await flag(saleId);
      // Others keep a query running all the time; the answer that counts is to the question after the withdrawal.
      const others = Array.from({ length: 5 }, () => ask(requests.soldOutFlags.subject, {}));
      await database.sql("UPDATE sales SET sold_out_version = NULL WHERE id = ?", [saleId]);
      expect(JSON.stringify(await ask(requests.soldOutFlags.subject, {}))).not.toContain(`"${saleId}"`);
      await Promise.all(others);
    }
  });
});

describe("the orders of purchases", () => {
  const PAY_WITHIN_MS = 60_000;
  /** @param at seq in epoch 3 of shard 1 */
  const insert = (at: number, uid: string, key: string, state: string, reason: string | null = null) =>
    database.sql(
      `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reason, reserved_at_ms, created_at)
       VALUES (?, ?, ?, 1, 3, ?, 0, 2, ?, ?, 0, to_timestamp(1))`,
      [saleId, uid, key, at, state, reason],
    );
  const orderAt = (seq: number, state: string, payByMs: number | null, reason: string | null = null) => ({
    orderId: formatOrderId({ shard: 1, epoch: 3, seq, index: 0 }),
    units: 2,
    state,
    payByMs,
    reason,
  });
  const orders = async (...purchases: readonly (readonly [uid: string, key: string])[]) => {
    const answer = await ask(requests.purchaseOrders.subject, { saleId, purchases: purchases.map(([uid, key]) => ({ uid, key })) });
    return answer.ok ? answer.value : answer;
  };

  it("are told by purchase, in the order in which they were asked for; null where there is none", async () => {
    await ask(requests.openSale.subject, definition({ limitPerBuyer: 4, payWithinMs: PAY_WITHIN_MS }));
    await insert(1, "ann", "", "pending_payment");
    await insert(2, "ann", "second", "paid");
    await insert(3, "ben", "", "expired");
    expect(await orders(["ben", ""], ["cora", ""], ["ann", "second"], ["ann", ""], ["ann", "third"], ["ben", ""])).toEqual([
      orderAt(3, "expired", null),
      null,
      orderAt(2, "paid", null),
      orderAt(1, "pending_payment", 1_000 + PAY_WITHIN_MS),
      null,
      orderAt(3, "expired", null),
    ]);
  });

  it("that do not expire have no deadline; those of another sale, or of none, are none", async () => {
    await ask(requests.openSale.subject, definition({ payWithinMs: 0 }));
    await insert(4, "ann", "", "pending_payment");
    expect(await orders(["ann", ""])).toEqual([orderAt(4, "pending_payment", null)]);
    saleId = "nowhere";
    expect(await orders(["ann", ""])).toEqual([null]);
  });

  it("are the binding one before any that was refused, or the first that was refused", async () => {
    await ask(requests.openSale.subject, definition());
    await insert(9, "ann", "", "rejected", "twice");
    await insert(5, "ann", "", "rejected", "no unit left");
    await insert(6, "ben", "", "rejected", "no unit left");
    await insert(7, "ben", "", "cancelled");
    expect(await orders(["ann", ""], ["ben", ""])).toEqual([orderAt(5, "rejected", null, "no unit left"), orderAt(7, "cancelled", null)]);
  });

  it("are looked up by as many as a batch has, and by no more", async () => {
    await ask(requests.openSale.subject, definition());
    await insert(8, "b511", "", "pending_payment");
    const many = Array.from({ length: 512 }, (_, n) => [`b${n}`, ""] as const);
    expect(await orders(...many)).toEqual(expect.arrayContaining([null, expect.objectContaining({ units: 2 })]));
    expect(await orders(...many, ["b512", ""])).toEqual(refused("bad_request"));
    expect(await orders()).toEqual(refused("bad_request"));
    expect(await orders(["no spaces", ""])).toEqual(refused("bad_request"));
  });
});

describe("an archived sale", () => {
  const idsOf = (answer: unknown): string[] => (answer as { value: { id: string }[] }).value.map(({ id }) => id);

  it("is found by its id and with a shard's row, listed where that is asked for, and changed no more", async () => {
    await ask(requests.openSale.subject, definition());
    await database.sql("UPDATE sales SET state = 'closed', archived = true WHERE id = ?", [saleId]);
    const archived = { id: saleId, state: "archived" };
    expect(await ask(requests.findSales.subject, { ids: ["none", saleId] })).toMatchObject({ ok: true, value: [archived] });
    expect(await ask(requests.rowAndArchived.subject, { shard: 0, sales: ["none", saleId] })).toMatchObject({
      value: { row: { shard: 0 }, archived: [saleId] },
    });
    expect(idsOf(await ask(requests.sales.subject, { archived: false }))).not.toContain(saleId);
    // as who knows of no archived sale asks
    expect(idsOf(await ask(requests.sales.subject, {}))).toContain(saleId);
    for (const state of ["open", "paused"])
      expect(await ask(requests.changeSale.subject, { id: saleId, state })).toMatchObject({ ok: false, code: "conflict" });
    for (const state of ["closed", "archived"])
      expect(await ask(requests.changeSale.subject, { id: saleId, state })).toMatchObject({ ok: true, value: archived });
    expect(await ask(requests.addUnits.subject, { saleId, grantId: "more", units: 1 })).toMatchObject({ ok: false, code: "conflict" });
    expect(await ask(requests.openSale.subject, definition())).toMatchObject({ ok: true, value: archived });
    expect(await ask(requests.soldOutSet.subject, { saleId, returnsSeq: 0 })).toEqual(refused("overtaken"));
  });

  it("was closed, and is not archived while a Redis cannot be asked; one whose window is over is closed by that", async () => {
    await ask(requests.openSale.subject, definition());
    const archive = (id: string) => ask(requests.changeSale.subject, { id, state: "archived" });
    expect(await archive(saleId)).toMatchObject({ code: "conflict", detail: expect.stringContaining("close it first") });
    expect(await archive("none")).toEqual(refused("not_found"));
    await ask(requests.openSale.subject, definition({ id: `${saleId}-over`, closesAtMs: 1_000_000_000_001 }));
    expect(await archive(`${saleId}-over`)).toMatchObject({
      code: "conflict",
      detail: expect.stringContaining("not closed on all of its shards"),
    });
    expect(await ask(requests.findSales.subject, { ids: [`${saleId}-over`] })).toMatchObject({ value: [{ state: "closed", version: 2 }] });
  });
});

describe("a shard's row and its restore", () => {
  it("are answered for configured shards only", async () => {
    expect(await ask(requests.row.subject, { shard: 1 })).toEqual({
      ok: true,
      value: {
        shard: 1,
        epoch: 0,
        applied: 0,
        attempt: "",
        mode: "rebuild",
        flagged: false,
        gap: null,
        wall: false,
        halted: null,
        draining: false,
      },
    });
    expect(await ask(requests.row.subject, { shard: 2 })).toEqual(refused("not_found"));
    expect(await ask(requests.restore.subject, { shard: 2, epoch: 1, attempt: "a", replicationId: "r" })).toEqual(refused("not_found"));
  });

  it.each([
    ["done", { ok: true, value: { orders: 2_000, ofUnits: 3_000, done: true } }],
    ["overtaken", refused("overtaken")],
    ["incomplete", refused("conflict")],
  ] as const)("tells progress, then how it ended: %s", async (end, last) => {
    restored = end;
    const answers: unknown[] = [];
    const request = JSON.stringify({ shard: 0, epoch: 1, attempt: "a", replicationId: "r" });
    for await (const message of await connection.requestMany(requests.restore.subject, request, {
      strategy: RequestStrategy.Count,
      maxMessages: 2,
      maxWait: 5_000,
    }))
      answers.push(message.json());
    expect(answers).toEqual([{ ok: true, value: { orders: 2_000, ofUnits: 3_000, done: false } }, last]);
  });
});

describe("bad input", () => {
  it.each([
    [requests.openSale.subject, {}],
    [requests.openSale.subject, definition({ id: "no spaces" })],
    [requests.openSale.subject, definition({ id: "x".repeat(65) })],
    [requests.openSale.subject, definition({ units: 0 })],
    [requests.openSale.subject, definition({ units: 1.5 })],
    [requests.openSale.subject, definition({ title: "a\0b" })],
    [requests.openSale.subject, definition({ title: "\uD83D" })],
    [requests.openSale.subject, definition({ title: "a\nb" })],
    [requests.openSale.subject, definition({ opensAtMs: 0 })],
    [requests.openSale.subject, definition({ closesAtMs: 2_000_000_000 })],
    [requests.openSale.subject, definition({ closesAtMs: 2_000_000_000_000_000 })],
    [requests.openSale.subject, definition({ opensAtMs: 2_000_000_000_000, closesAtMs: 2_000_000_000_000 })],
    [requests.changeSale.subject, { id: "x", state: "ajar" }],
    [requests.addUnits.subject, { saleId: "x", grantId: "y'; DROP TABLE orders; --", units: 1 }],
    [requests.addUnits.subject, { saleId: "x", grantId: "y", units: -1 }],
    [requests.row.subject, { shard: -1 }],
    [requests.row.subject, { shard: "0" }],
    [requests.row.subject, null],
    [requests.restore.subject, { shard: 0 }],
    [requests.soldOutSet.subject, { saleId: "x" }],
    [requests.soldOutFacts.subject, []],
  ])("is told to the asker: %s %j", async (subject, body) => {
    expect(await ask(subject, body)).toEqual(refused("bad_request"));
  });

  it.each([["{"], ["\u0000"], [""]])("is told to the asker, also if it is not JSON: %j", async (text) => {
    const answer = (await connection.request(requests.row.subject, text, { timeout: 5_000 })).json();
    expect(answer).toEqual(refused("bad_request"));
    const bytes = await connection.request(requests.row.subject, new Uint8Array([0xff, 0xfe]), { timeout: 5_000 });
    expect(bytes.json()).toEqual(refused("bad_request"));
    expect(faults).toEqual([]);
  });

  it("in the rows of a sale is told in its place, and the other sales are listed", async () => {
    await ask(requests.openSale.subject, definition());
    await database.sql("UPDATE sales SET opens_at_ms = -5 WHERE id = ?", [saleId]);
    const other = await ask(requests.openSale.subject, definition({ id: `${saleId}-other` }));
    const listed = (await ask(requests.sales.subject, {})) as unknown as { readonly value: readonly { readonly id: string }[] };
    expect(listed.value.find(({ id }) => id === saleId)).toEqual({ id: saleId, problem: expect.stringMatching(/^opensAtMs: /) });
    expect(listed.value).toContainEqual(other.ok ? other.value : "refused");
    await database.sql("UPDATE sales SET opens_at_ms = 1000000000000 WHERE id = ?", [saleId]);
  });

  it("without a body asks for everything where nothing has to be said", async () => {
    expect((await connection.request(requests.sales.subject)).json()).toMatchObject({ ok: true, value: expect.any(Array) });
  });
});

it("answers unavailable when Postgres fails", async () => {
  const gone = await connectDatabase({ url: "postgres://nobody@127.0.0.1:1/none", pool: 1, name: "gone" });
  const other = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "other");
  const failed: string[] = [];
  await server.close();
  const failing = serve({
    connection: other,
    fault: (subject) => failed.push(subject),
    handlers: requestHandlers({
      database: gone,
      shards: 2,
      shardAdmin,
      orders: ordersPorts(gone),
      archive: { store: postgresArchiveStore(gone), shards: NO_REDIS },
      clock: systemClock,
      restore: () => Promise.reject(new Error("no")),
      changed: () => undefined,
    }),
  });
  await other.flush();
  for (const [subject, body] of [
    [requests.sales.subject, {}],
    [requests.soldOutFlags.subject, {}],
    [requests.openSale.subject, definition()],
    [requests.payOrder.subject, { saleId: "a", uid: "ann", orderId: "0-1-1-0", paymentId: "p" }],
    [requests.restore.subject, { shard: 0, epoch: 1, attempt: "a", replicationId: "r" }],
  ] as const)
    expect(await ask(subject, body)).toEqual(refused("unavailable"));
  expect(failed).toHaveLength(5);
  await failing.close();
  await other.close();
  await gone.close();
});
