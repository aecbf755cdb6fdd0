import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { formatOrderId, type OrderId } from "#protocol/order-id";
import { OrderState, type PaidOrder } from "#protocol/order";
import type { Reply } from "#protocol/requests";
import { freshDatabase, givenSale, type TestDatabase } from "../../test/harness/index.ts";
import { postgresApplyStore } from "../apply/postgres.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { msOf } from "../db/timestamp.ts";
import { setSoldOut } from "../sales/sold-out.ts";
import { postgresSweepStore } from "../sales/sweep-stores.ts";
import { changeOrder, payOrder, readOrder, type OrdersPorts } from "./commands.ts";
import { expireOrders } from "./expiry.ts";
import { postgresOrdersStore } from "./postgres.ts";

/** Connections are what the workers are to Postgres: three with some each. */
const WORKERS = 3;

let empty: TestDatabase;
let databases: Database[] = [];
let database: Database;
let portsOfAll: OrdersPorts[] = [];
let ports: OrdersPorts;
const seen: string[] = [];
/** ids of orders that gateways were told to have changed */
const told: string[] = [];

beforeAll(async () => {
  empty = await freshDatabase();
  const observer = {
    changed: (change: string, orders: number) => void seen.push(`${change} ${orders}`),
    paid: (decision: string) => void seen.push(decision),
  };
  databases = await Promise.all(
    Array.from({ length: WORKERS }, (_, n) => connectDatabase({ url: empty.url, pool: 6, name: `orders-test-${n}` })),
  );
  const tell = (orders: readonly OrderId[]): void => void told.push(...orders.map((order) => formatOrderId(order)));
  portsOfAll = databases.map((of) => ({ store: postgresOrdersStore(of), observer, tell }));
  [database, ports] = [databases[0] as Database, portsOfAll[0] as OrdersPorts];
  await ensureShards(database.sql, 2);
});
afterAll(async () => {
  await Promise.all(databases.map((of) => of.close()));
  await empty.drop();
});

const PAY_WITHIN_MS = 60_000;
let sales = 0;
let saleId = "";
/** Every test has a sale of its own on shard 1, all its units sold. */
beforeEach(async () => {
  await database.sql("UPDATE sales SET pay_within_ms = 0");
  seen.length = 0;
  told.length = 0;
  saleId = `sale-${(sales += 1)}`;
  await givenSale(database.sql, {
    id: saleId,
    totalUnits: 1_000,
    limitPerBuyer: 2,
    payWithinMs: PAY_WITHIN_MS,
    shards: [{ shard: 1, quotaUnits: 1_000, soldUnits: 1_000 }],
  });
});

/** Orders `b0` to `b<count>` of two units each, stored now or so long ago that they are due. */
const insertOrders = async (count: number, isDue = false, state: OrderState = OrderState.pendingPayment): Promise<void> => {
  await database.sql(
    `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms, created_at)
     SELECT ?, 'b' || n, '', 1, 1, ?::int, n, 2, ?, 0, clock_timestamp() - ? * interval '1 millisecond' FROM generate_series(0, ? - 1) n`,
    [saleId, sales, state, isDue ? PAY_WITHIN_MS : 0, count],
  );
};
const address = (n = 0) => ({ saleId, uid: `b${n}`, orderId: formatOrderId({ shard: 1, epoch: 1, seq: sales, index: n }) });
const pay = (n = 0, paymentId = `${saleId}-p${n}`, by = ports) => payOrder(by, { ...address(n), paymentId, amountMinor: 200 });
const cancel = (n = 0, by = ports) => changeOrder(by, { ...address(n), change: "cancel" });
const refund = (n = 0, by = ports) => changeOrder(by, { ...address(n), change: "refund" });
const stateOf = async (n = 0): Promise<string | undefined> => {
  const answer = await readOrder(ports, address(n));
  return answer.ok ? answer.value.state : undefined;
};
const grants = async (): Promise<readonly { readonly id: string; readonly units: number; readonly flagged: boolean }[]> =>
  (await database.sql("SELECT id, units, flagged FROM grants WHERE sale_id = ? AND kind = 'returned' ORDER BY id", [saleId])).rows.map(
    (row) => ({ id: String(row["id"]), units: Number(row["units"]), flagged: row["flagged"] === true }),
  );
const returnsSeq = async (): Promise<number> =>
  Number((await database.sql("SELECT returns_seq FROM sales WHERE id = ?", [saleId])).rows[0]?.["returns_seq"]);
const grantId = (n = 0): string => `r1-1-${sales}-${n}`;
const decisionOf = (answer: Reply<PaidOrder>): string => (answer.ok ? answer.value.decision : answer.code);
/** What a sweep does before it tells Redis. */
const offer = async (): Promise<readonly string[]> => {
  const sweep = postgresSweepStore(database.sql);
  await database.sql("UPDATE shards SET epoch = 1 WHERE shard = 1");
  const sent = (await sweep.sentGrants()).filter((grant) => grant.saleId === saleId && grant.revocable);
  return (await sweep.offer(sent)).map((grant) => grant.grantId);
};

describe("an order", () => {
  it("is paid once; every payment beside the kept one is to be refunded; each is recorded, and said again hears the same", async () => {
    await insertOrders(1);
    expect(await pay()).toMatchObject({ ok: true, value: { decision: "kept", order: { state: "paid", units: 2 } } });
    expect(decisionOf(await pay(0, `${saleId}-second`))).toBe("refund");
    expect(decisionOf(await pay())).toBe("kept");
    expect(decisionOf(await pay(0, `${saleId}-second`))).toBe("refund");
    const record = await readOrder(ports, address());
    expect(record).toMatchObject({
      value: {
        payments: [
          { paymentId: `${saleId}-p0`, amountMinor: 200, decision: "kept", told: 2 },
          { paymentId: `${saleId}-second`, amountMinor: 200, decision: "refund", told: 2 },
        ],
      },
    });
    expect(seen).toEqual(["kept", "pay 1", "refund", "repeat", "repeat"]);
    expect(await grants()).toEqual([]);
  });

  it("expires when it is due and not before, never where the window is 0, and gives its units back in the same step", async () => {
    await insertOrders(1);
    expect(await expireOrders(ports)).toBe(0);
    await database.sql("UPDATE orders SET created_at = created_at - ? * interval '1 millisecond' WHERE sale_id = ?", [
      PAY_WITHIN_MS,
      saleId,
    ]);
    await database.sql("UPDATE sales SET pay_within_ms = 0 WHERE id = ?", [saleId]);
    expect(await expireOrders(ports)).toBe(0);
    await database.sql("UPDATE sales SET pay_within_ms = ? WHERE id = ?", [PAY_WITHIN_MS, saleId]);
    expect(await expireOrders(ports)).toBe(1);
    expect(await stateOf()).toBe("expired");
    expect(await grants()).toEqual([{ id: grantId(), units: 2, flagged: false }]);
    expect(await returnsSeq()).toBe(1);
    expect(await expireOrders(ports)).toBe(0);
  });

  it("has its whole time to be paid from when it is stored, however long its reservation has waited for that", async () => {
    const reservedAtMs = Date.now() - 10 * PAY_WITHIN_MS;
    const planned = { saleId, uid: "b0", key: "", units: 2, seq: sales, index: 0, atMs: reservedAtMs };
    // by Postgres's clock when the insert begins: its transaction, which may have waited for the shard's row, began earlier
    let insertAtMs = 0;
    await postgresApplyStore(database).transaction(1, async (_row, apply) => {
      const { rows } = await database.sql(`SELECT ${msOf("clock_timestamp()")} AS ms`);
      insertAtMs = Number(rows[0]?.["ms"]);
      expect(await apply.insertOrders(1, [planned])).toEqual([]);
    });
    expect(await expireOrders(ports)).toBe(0);
    const record = await readOrder(ports, address());
    expect(record).toMatchObject({ ok: true, value: { state: "pending_payment", reservedAtMs } });
    const [purchase] = await ports.store.ofPurchases({ saleId, purchases: [{ uid: "b0", key: "" }] });
    expect(record.ok && record.value.payByMs).toBe(purchase?.payByMs);
    expect(purchase?.payByMs).toBeGreaterThanOrEqual(insertAtMs + PAY_WITHIN_MS);
    expect(decisionOf(await pay())).toBe("kept");
  });

  it("is cancelled while it is not paid, and refunded when it is; said again it changes nothing", async () => {
    await insertOrders(2);
    for (let turn = 0; turn < 2; turn += 1) expect(await cancel(0)).toMatchObject({ ok: true, value: { state: "cancelled" } });
    expect(await refund(1)).toMatchObject({ ok: false, code: "conflict" });
    await pay(1);
    expect(await cancel(1)).toMatchObject({ ok: false, code: "conflict" });
    for (let turn = 0; turn < 2; turn += 1)
      expect(await refund(1)).toMatchObject({ ok: true, value: { state: "refunded", payments: [{ decision: "refund" }] } });
    expect((await grants()).map(({ id }) => id)).toEqual([grantId(0), grantId(1)]);
    expect(await returnsSeq()).toBe(2);
    expect(seen).toEqual(["cancel 1", "kept", "pay 1", "refund 1"]);
  });

  it("is told of whenever it changed, once, and not where nothing did", async () => {
    await insertOrders(4);
    await pay(0);
    await pay(0);
    await pay(0, `${saleId}-second`);
    await refund(0);
    await refund(0);
    await cancel(1);
    await cancel(0);
    const id = (n: number): string => address(n).orderId;
    expect(told).toEqual([id(0), id(0), id(1)]);
    await database.sql("UPDATE orders SET created_at = to_timestamp(1) WHERE sale_id = ?", [saleId]);
    expect(await expireOrders(ports, 2)).toBe(2);
    await expireOrders(ports);
    expect(told.slice(3).toSorted()).toEqual([id(2), id(3)]);
    await pay(2);
    expect(told.at(-1)).toBe(id(2));
    expect(told).toHaveLength(6);
  });

  it("that is not in Postgres, or another buyer's, is not known, and nothing is recorded of its payment", async () => {
    expect(await pay()).toMatchObject({ ok: false, code: "not_found" });
    await insertOrders(2);
    expect(await changeOrder(ports, { ...address(0), uid: "b1", change: "cancel" })).toMatchObject({ ok: false, code: "not_found" });
    expect(decisionOf(await pay())).toBe("kept");
    expect(await pay(1, `${saleId}-p0`)).toMatchObject({ ok: false, code: "conflict" });
    expect(await stateOf(1)).toBe("pending_payment");
  });

  it("whose payment is told again with another amount refuses that, and nothing of it changes; without an amount it says nothing about it", async () => {
    await insertOrders(2);
    const tell = (paymentId: string, amountMinor: number | undefined, n = 0) => payOrder(ports, { ...address(n), paymentId, amountMinor });
    const [first, second] = [`${saleId}-first`, `${saleId}-second`];
    expect(decisionOf(await tell(first, 200))).toBe("kept");
    for (const amountMinor of [100, 201, 0])
      expect(await tell(first, amountMinor)).toMatchObject({
        ok: false,
        code: "conflict",
        detail: expect.stringMatching(/ 200, now it is \d+: /),
      });
    expect(decisionOf(await tell(first, undefined))).toBe("kept");
    // of another order it is refused as that, whatever the amount, and nothing is learnt from it
    expect(await tell(first, 200, 1)).toMatchObject({ code: "conflict", detail: expect.stringContaining("another order") });
    // first said without an amount, then with one: from then on that is its amount
    expect(decisionOf(await tell(second, undefined))).toBe("refund");
    expect(await tell(second, 7, 1)).toMatchObject({ code: "conflict" });
    expect(decisionOf(await tell(second, 300))).toBe("refund");
    expect(await tell(second, 301)).toMatchObject({ code: "conflict" });
    expect(await readOrder(ports, address())).toMatchObject({
      value: {
        state: "paid",
        payments: [
          { paymentId: first, amountMinor: 200, decision: "kept", told: 2 },
          { paymentId: second, amountMinor: 300, decision: "refund", told: 2 },
        ],
      },
    });
    expect(await stateOf(1)).toBe("pending_payment");
  });

  it("whose payment is told twice at once with two amounts takes one of them", async () => {
    await insertOrders(20);
    for (let n = 0; n < 20; n += 1) {
      const paying = [100, 200].map((amountMinor, at) =>
        payOrder(portsOfAll[at] as OrdersPorts, { ...address(n), paymentId: `${saleId}-${n}`, amountMinor }),
      );
      expect((await Promise.all(paying)).map((answer) => decisionOf(answer)).toSorted()).toEqual(["conflict", "kept"]);
    }
  });

  it("that a wall refused takes no money and gives nothing back", async () => {
    await insertOrders(1, true, OrderState.rejected);
    expect(decisionOf(await pay())).toBe("refund");
    expect(await cancel()).toMatchObject({ ok: false, code: "conflict" });
    expect(await expireOrders(ports)).toBe(0);
    expect(await grants()).toEqual([]);
  });
});

describe("late money", () => {
  it("has the order again while its units were not offered to Redis, and the return is as if it had not been", async () => {
    await insertOrders(1, true);
    await expireOrders(ports);
    expect(decisionOf(await pay())).toBe("reacquired");
    expect(await stateOf()).toBe("paid");
    expect(await grants()).toEqual([]);
    expect(await offer()).toEqual([]);
    expect(decisionOf(await pay(0, `${saleId}-second`))).toBe("refund");
    await refund();
    expect((await grants()).map(({ id }) => id)).toEqual([grantId()]);
    expect(decisionOf(await pay(0, `${saleId}-third`))).toBe("refund");
  });

  it("is to be refunded once they were, or are Redis's", async () => {
    await insertOrders(2, true);
    await expireOrders(ports);
    expect(await offer()).toEqual([grantId(0), grantId(1)]);
    expect(decisionOf(await pay(0))).toBe("refund");
    await database.sql("UPDATE grants SET state = 'done' WHERE sale_id = ?", [saleId]);
    expect(decisionOf(await pay(1))).toBe("refund");
    expect([await stateOf(0), await stateOf(1)]).toEqual(["expired", "expired"]);
    expect(await grants()).toHaveLength(2);
  });

  it("and a sweep that offers at the same time: one of the two has the units", async () => {
    const orders = 40;
    await insertOrders(orders, true);
    await expireOrders(ports);
    const [offered, ...paid] = await Promise.all([
      offer(),
      ...Array.from({ length: orders }, (_, n) => pay(n, undefined, portsOfAll[n % WORKERS])),
    ]);
    const reacquired = paid.flatMap((answer, n) => (decisionOf(answer) === "reacquired" ? [grantId(n)] : []));
    expect([...offered, ...reacquired].toSorted()).toEqual(Array.from({ length: orders }, (_, n) => grantId(n)).toSorted());
  });
});

describe("at the same time", () => {
  it("three workers, each told three times, expire a hundred orders: a hundred returns", async () => {
    await insertOrders(100, true);
    const told = await Promise.all([...portsOfAll, ...portsOfAll, ...portsOfAll].map((by) => expireOrders(by, 7)));
    // what another worker had locked when this one looked is left to that one, so the last look may be needed
    const rest = await expireOrders(ports);
    expect(told.reduce((sum, count) => sum + count, rest)).toBe(100);
    expect((await grants()).map(({ units }) => units)).toEqual(Array.from({ length: 100 }, () => 2));
  });

  it("pay, expire and cancel of the same orders: one of them wins each, and the money says the same", async () => {
    const orders = 60;
    await insertOrders(orders, true);
    const paying = Array.from({ length: orders }, (_, n) => async () => {
      const twice = await Promise.all([pay(n, undefined, portsOfAll[0]), pay(n, undefined, portsOfAll[1])]);
      expect(decisionOf(twice[0])).toBe(decisionOf(twice[1]));
      return decisionOf(twice[0]);
    });
    const [paid] = await Promise.all([
      Promise.all(paying.map((one) => one())),
      Promise.all(Array.from({ length: orders / 2 }, (_, n) => cancel(2 * n, portsOfAll[2]))),
      ...portsOfAll.map((by) => expireOrders(by, 5)),
    ]);
    await expireOrders(ports);
    const returned = new Set((await grants()).map(({ id }) => id));
    for (const [n, decision] of paid.entries()) {
      const state = await stateOf(n);
      expect([n, decision, state, returned.has(grantId(n))]).toEqual(
        decision === "refund" ? [n, decision, state === "cancelled" ? "cancelled" : "expired", true] : [n, decision, "paid", false],
      );
    }
  });

  it("a flag of sold out is either seen by who frees a unit, or refused", async () => {
    await insertOrders(40, true);
    for (let n = 0; n < 20; n += 1) {
      const seq = await returnsSeq();
      const [flag] = await Promise.all([setSoldOut(database.em(), saleId, seq), cancel(n, portsOfAll[1])]);
      const grant = (await grants()).find(({ id }) => id === grantId(n));
      const { rows } = await database.sql("SELECT sold_out_version, returns_seq, ever_sold_out FROM sales WHERE id = ?", [saleId]);
      expect(rows[0]).toMatchObject({ sold_out_version: null, returns_seq: String(seq + 1) });
      if (flag.ok) expect(grant).toMatchObject({ flagged: true });
      await database.sql("UPDATE sales SET ever_sold_out = false WHERE id = ?", [saleId]);
    }
  });
});
