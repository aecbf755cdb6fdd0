import { OrderState, PaymentDecision, type OrderRecord } from "#protocol/order";
import type { OrderId } from "#protocol/order-id";
import type { Database, Row, Sql } from "../db/database.ts";
import { msOf } from "../db/timestamp.ts";
import { GrantKind, GrantState } from "../db/states.ts";
import { changedBy, OrderEvent, revivedBy, targetOf } from "./machine.ts";
import { orderRecord, readOrderRecord } from "./order-record.ts";
import type { OrderKey, OrdersStore, OrdersTransaction } from "./orders-store.ts";
import { readPurchaseOrders } from "./purchase-orders.ts";
import { returnGrantId } from "./return-grant.ts";

const listOf = (states: readonly string[]): string => states.map((state) => `'${state}'`).join(", ");

/** One order by the columns of the unique index, which also name its partition; then its position. */
const IS_ORDER = "WHERE o.sale_id = ? AND o.uid = ? AND o.shard = ? AND o.epoch = ? AND o.seq = ? AND o.idx = ?";
const keyOf = ({ saleId, uid, shard, epoch, seq, index }: OrderKey): readonly unknown[] => [saleId, uid, shard, epoch, seq, index];

/** The condition on the state is what lets one of two events win, and a repeat change nothing. */
const update = (event: OrderEvent, where: string): string =>
  `UPDATE orders o SET state = '${targetOf[event]}', changed_at = clock_timestamp() ${where} AND o.state IN (${listOf(changedBy(event))})`;

/**
 * Whoever closes orders of a sale gives their units back in the same statement, and withdraws the sold-out flag (DESIGN 7.4).
 * Whether the sale ever was flagged is read from its row after it is locked: a flag that was set before is seen, one that is
 * set later is refused, because `returns_seq` has moved. Likewise whether the sale is archived: then no Redis is to hear of the
 * units, they are Postgres's at once, and the grant is the record of that (DESIGN 7.6).
 */
const closing = (event: OrderEvent, where: string, first = ""): string => `
  WITH ${first} closed AS (
    ${update(event, where)} RETURNING o.sale_id, o.shard, o.epoch, o.seq, o.idx, o.units
  ), withdrawn AS (
    UPDATE sales s SET returns_seq = s.returns_seq + 1, sold_out_version = NULL
    FROM (SELECT DISTINCT sale_id FROM closed) c WHERE s.id = c.sale_id RETURNING s.id, s.ever_sold_out, s.archived
  ), counted AS (
    UPDATE sale_shards ss SET sold = ss.sold - a.units FROM (
      SELECT c.sale_id, c.shard, sum(c.units) AS units FROM closed c JOIN withdrawn w ON w.id = c.sale_id
      WHERE w.archived GROUP BY c.sale_id, c.shard
    ) a WHERE ss.sale_id = a.sale_id AND ss.shard = a.shard
  ), returned AS (
    INSERT INTO grants (sale_id, id, shard, units, kind, flagged, state)
    SELECT c.sale_id, ${returnGrantId("c")}, c.shard, c.units, '${GrantKind.returned}', w.ever_sold_out,
      CASE WHEN w.archived THEN '${GrantState.done}' ELSE '${GrantState.sent}' END
    FROM closed c JOIN withdrawn w ON w.id = c.sale_id
  )
  SELECT shard, epoch, seq, idx FROM closed`;

const CHANGE: Readonly<Record<OrderEvent, string>> = {
  [OrderEvent.pay]: update(OrderEvent.pay, IS_ORDER),
  [OrderEvent.cancel]: closing(OrderEvent.cancel, IS_ORDER),
  [OrderEvent.refund]: closing(OrderEvent.refund, IS_ORDER),
  [OrderEvent.expire]: closing(OrderEvent.expire, IS_ORDER),
};

/**
 * By Postgres's clock, one for all workers, from when the order was stored: a buyer has all of the time also when workers were away.
 * now() is the statement's here, and one value for all of it, so that the index is read only up to it.
 */
const DUE = `s.pay_within_ms > 0 AND o.state = '${OrderState.pendingPayment}'
  AND o.created_at <= now() - s.pay_within_ms * interval '1 millisecond'`;

const DUE_SALES = `SELECT s.id FROM sales s WHERE s.pay_within_ms > 0 AND EXISTS (SELECT FROM orders o WHERE o.sale_id = s.id AND ${DUE})`;

/** Workers share the due orders of a sale: what another one has locked is left to it, and so is what is being paid. */
const EXPIRE = closing(
  OrderEvent.expire,
  "FROM due d WHERE o.sale_id = ? AND o.uid = d.uid AND o.purchase_key = d.purchase_key",
  `due AS MATERIALIZED (
    SELECT o.uid, o.purchase_key FROM orders o JOIN sales s ON s.id = o.sale_id
    WHERE o.sale_id = ? AND ${DUE} LIMIT ? FOR NO KEY UPDATE OF o SKIP LOCKED
  ),`,
);

/**
 * A return that was not offered is known to nobody but Postgres, and the sweep offers it before it tells Redis (sales/sweep.ts): the
 * row lock lets one of the two win. What was offered may be sold again already.
 */
const REACQUIRE = `
  WITH taken AS (
    DELETE FROM grants g USING orders o
    ${IS_ORDER} AND g.sale_id = o.sale_id AND g.id = ${returnGrantId("o")} AND g.shard = o.shard
      AND g.state = '${GrantState.sent}' AND NOT g.offered
    RETURNING o.sale_id, o.uid, o.shard, o.epoch, o.seq, o.idx
  )
  UPDATE orders o SET state = '${OrderState.paid}', changed_at = clock_timestamp() FROM taken t
  WHERE o.sale_id = t.sale_id AND o.uid = t.uid AND o.shard = t.shard AND o.epoch = t.epoch AND o.seq = t.seq AND o.idx = t.idx
    AND o.state IN (${listOf(revivedBy(OrderEvent.pay))})`;

const IS_PAYMENT_OF = "(sale_id, uid, shard, epoch, seq, idx) = (?::text, ?::text, ?::int, ?::bigint, ?::bigint, ?::int)";

const TELL_AGAIN = `
  UPDATE payments SET told = told + 1, amount_minor = coalesce(amount_minor, ?::bigint)
  WHERE id = ? AND ${IS_PAYMENT_OF} AND coalesce(amount_minor = ?::bigint, true)
  RETURNING decision`;

const orderIdOf = (row: Row): OrderId => ({
  shard: Number(row["shard"]),
  epoch: Number(row["epoch"]),
  seq: Number(row["seq"]),
  index: Number(row["idx"]),
});

const OF_ORDER = "shard = ? AND epoch = ? AND seq = ? AND idx = ?";

const READ = `
  SELECT o.units, o.state, o.reserved_at_ms, ${msOf("o.changed_at")} AS changed_at_ms, ${msOf("o.created_at")} AS stored_at_ms, s.pay_within_ms,
    (SELECT json_agg(json_build_object('paymentId', p.id, 'amountMinor', p.amount_minor, 'decision', p.decision, 'told', p.told)
       ORDER BY p.created_at, p.id)
     FROM payments p WHERE (p.shard, p.epoch, p.seq, p.idx) = (o.shard, o.epoch, o.seq, o.idx)) AS payments
  FROM orders o JOIN sales s ON s.id = o.sale_id ${IS_ORDER}`;

const readRow = (order: OrderKey, row: Row): OrderRecord =>
  orderRecord(order, {
    units: Number(row["units"]),
    state: row["state"] as OrderState,
    reservedAtMs: Number(row["reserved_at_ms"]),
    storedAtMs: Number(row["stored_at_ms"]),
    payWithinMs: Number(row["pay_within_ms"]),
    changedAtMs: row["changed_at_ms"] === null ? null : Number(row["changed_at_ms"]),
    payments: (row["payments"] ?? []) as OrderRecord["payments"],
  });

/**
 * Raw, also what is only written and read back: a payment comes for every win, and as entities it cost the worker 3.3 ms of
 * CPU, as statements 0.8.
 */
const transactionOn = (sql: Sql): OrdersTransaction => ({
  change: async (order, event) => (await sql(CHANGE[event], keyOf(order))).rowCount === 1,
  lockState: async (order) => {
    const { rows } = await sql(`SELECT o.state FROM orders o ${IS_ORDER} FOR NO KEY UPDATE`, keyOf(order));
    return rows[0]?.["state"] as OrderState | undefined;
  },
  reacquire: async (order) => (await sql(REACQUIRE, keyOf(order))).rowCount === 1,
  record: async ({ id, order, amountMinor }) => {
    const { rowCount } = await sql(
      `INSERT INTO payments (id, sale_id, uid, shard, epoch, seq, idx, amount_minor, decision)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, '${PaymentDecision.refund}') ON CONFLICT (id) DO NOTHING`,
      [id, ...keyOf(order), amountMinor ?? null],
    );
    if (rowCount === 1) return undefined;
    const amount = amountMinor ?? null;
    const { rows: told } = await sql(TELL_AGAIN, [amount, id, ...keyOf(order), amount]);
    if (told[0] !== undefined) return { is: "same", decision: told[0]["decision"] as PaymentDecision };
    const { rows } = await sql(`SELECT amount_minor FROM payments WHERE id = ? AND ${IS_PAYMENT_OF}`, [id, ...keyOf(order)]);
    return rows[0] === undefined ? { is: "of_another_order" } : { is: "of_another_amount", amountMinor: Number(rows[0]["amount_minor"]) };
  },
  decide: async (paymentId, decision) => {
    await sql("UPDATE payments SET decision = ? WHERE id = ?", [decision, paymentId]);
  },
  oweKept: async ({ shard, epoch, seq, index }) => {
    await sql(`UPDATE payments SET decision = '${PaymentDecision.refund}' WHERE ${OF_ORDER} AND decision <> '${PaymentDecision.refund}'`, [
      shard,
      epoch,
      seq,
      index,
    ]);
  },
  read: async (order) => {
    const { rows } = await sql(READ, keyOf(order));
    return rows[0] === undefined ? undefined : readRow(order, rows[0]);
  },
});

export const postgresOrdersStore = (database: Database): OrdersStore => ({
  transaction: (work) => database.transaction((sql) => work(transactionOn(sql))),
  read: (order) => readOrderRecord(database.em(), order),
  ofPurchases: (request) => readPurchaseOrders(database.sql, request),
  dueSales: async () => (await database.sql(DUE_SALES)).rows.map((row) => String(row["id"])),
  expire: async (saleId, limit) => (await database.sql(EXPIRE, [saleId, limit, saleId])).rows.map((row) => orderIdOf(row)),
});
