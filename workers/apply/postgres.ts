import type { Database, Sql } from "../db/database.ts";
import { holdDraining } from "../db/drain-lock.ts";
import { GrantKind, GrantState, OrderState } from "../db/states.ts";
import { readShardRow } from "../db/shard-row.ts";
import {
  GrantFate,
  Unappliable,
  WithdrawFate,
  type ApplyStore,
  type ApplyTransaction,
  type PlannedGrant,
  type PlannedOrder,
  type PlannedWithdrawal,
  type RejectedOrder,
} from "./apply-store.ts";
import { transferGrantId } from "./transfer-grant.ts";

/**
 * Postgres's array text. pg would build the same from a JS array by looking at each element, which costs 2 ms for a
 * thousand orders; ids need no escaping (protocol/ids.ts), and quotes keep an empty key and a buyer called "null" texts.
 */
const textArray = (ids: readonly string[]): string => (ids.length === 0 ? "{}" : `{"${ids.join('","')}"}`);
const numberArray = (numbers: readonly number[]): string => `{${numbers.join(",")}}`;

interface OrderColumns {
  readonly saleIds: string;
  readonly uids: string;
  readonly keys: string;
  readonly seqs: string;
  readonly indexes: string;
  readonly units: string;
  readonly atMs: string;
}

const columnsOf = (orders: readonly PlannedOrder[]): OrderColumns => ({
  saleIds: textArray(orders.map((order) => order.saleId)),
  uids: textArray(orders.map((order) => order.uid)),
  keys: textArray(orders.map((order) => order.key)),
  seqs: numberArray(orders.map((order) => order.seq)),
  indexes: numberArray(orders.map((order) => order.index)),
  units: numberArray(orders.map((order) => order.units)),
  atMs: numberArray(orders.map((order) => order.atMs)),
});

const INSERT = `
  INSERT INTO orders (sale_id, uid, purchase_key, seq, idx, units, reserved_at_ms, shard, epoch, state, reason)
  SELECT o.*, ?::int, ?::bigint, ?, ?
  FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[], ?::int[], ?::int[], ?::bigint[])
    AS o (sale_id, uid, purchase_key, seq, idx, units, reserved_at_ms)
  ORDER BY o.sale_id COLLATE "C", o.uid COLLATE "C", o.purchase_key COLLATE "C", o.seq, o.idx`;

/** Costs a third more than a plain insert: each row is looked for first, inserted as a speculation, and confirmed. */
const INSERT_WHAT_FITS = `${INSERT} ON CONFLICT DO NOTHING`;

const insert = async (
  sql: Sql,
  statement: string,
  position: { readonly shard: number; readonly epoch: number },
  orders: readonly PlannedOrder[],
  state: OrderState,
  reason: string | null,
): Promise<number> => {
  const { saleIds, uids, keys, seqs, indexes, units, atMs } = columnsOf(orders);
  const result = await sql(statement, [position.shard, position.epoch, state, reason, saleIds, uids, keys, seqs, indexes, units, atMs]);
  return result.rowCount;
};

/** Which of `orders` the statement before did not insert: their keys are held by orders at other positions. */
const notInserted = async (sql: Sql, shard: number, epoch: number, orders: readonly PlannedOrder[]): Promise<PlannedOrder[]> => {
  const { saleIds, uids, keys } = columnsOf(orders);
  const { rows } = await sql(
    `SELECT o.seq, o.idx FROM orders o
     JOIN unnest(?::text[], ?::text[], ?::text[]) AS k (sale_id, uid, purchase_key) USING (sale_id, uid, purchase_key)
     WHERE o.shard = ? AND o.epoch = ? AND o.state <> 'rejected'`,
    [saleIds, uids, keys, shard, epoch],
  );
  const inserted = new Set(rows.map((row) => `${Number(row["seq"])}-${Number(row["idx"])}`));
  return orders.filter((order) => !inserted.has(`${order.seq}-${order.index}`));
};

const rejectInserted = async (sql: Sql, shard: number, epoch: number, orders: readonly PlannedOrder[], reason: string): Promise<void> => {
  const { saleIds, uids, keys, seqs, indexes } = columnsOf(orders);
  await sql(
    `UPDATE orders o SET state = '${OrderState.rejected}', reason = ?
     FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[], ?::int[]) AS k (sale_id, uid, purchase_key, seq, idx)
     WHERE o.sale_id = k.sale_id AND o.uid = k.uid AND o.purchase_key = k.purchase_key AND o.seq = k.seq AND o.idx = k.idx
       AND o.shard = ? AND o.epoch = ? AND o.state <> '${OrderState.rejected}'`,
    [reason, saleIds, uids, keys, seqs, indexes, shard, epoch],
  );
};

/** @returns the sales whose quota here is less than what was to be sold */
const sell = async (sql: Sql, shard: number, units: ReadonlyMap<string, number>): Promise<string[]> => {
  const saleIds = [...units.keys()];
  const { rows } = await sql(
    `UPDATE sale_shards s SET sold = s.sold + d.units FROM unnest(?::text[], ?::bigint[]) AS d (sale_id, units)
     WHERE s.sale_id = d.sale_id AND s.shard = ? AND s.sold + d.units <= s.quota RETURNING s.sale_id`,
    [saleIds, [...units.values()], shard],
  );
  if (rows.length === saleIds.length) return [];
  const sold = new Set(rows.map((row) => row["sale_id"]));
  return saleIds.filter((saleId) => !sold.has(saleId));
};

const grantKey = (saleId: unknown, grantId: unknown, units: unknown): string => `${String(saleId)}:${String(grantId)}:${String(units)}`;

const TAKE_GRANTS = `
  WITH wanted AS (
    SELECT * FROM unnest(?::text[], ?::text[], ?::bigint[]) AS w (sale_id, id, units)
  ), done AS (
    UPDATE grants g SET state = '${GrantState.done}' FROM wanted w
    WHERE g.sale_id = w.sale_id AND g.id = w.id AND g.units = w.units AND g.shard = ? AND g.state = '${GrantState.sent}'
    RETURNING g.sale_id, g.id, g.units, g.kind
  ), moved AS (
    SELECT sale_id,
      coalesce(sum(units) FILTER (WHERE kind <> '${GrantKind.returned}'), 0) AS raised,
      coalesce(sum(units) FILTER (WHERE kind = '${GrantKind.returned}'), 0) AS returned
    FROM done GROUP BY sale_id
  ), counted AS (
    UPDATE sale_shards s SET quota = s.quota + m.raised, sold = s.sold - m.returned FROM moved m
    WHERE s.sale_id = m.sale_id AND s.shard = ?
  )
  SELECT sale_id, id, units FROM done`;

const takeGrants = async (sql: Sql, shard: number, grants: readonly PlannedGrant[]): Promise<GrantFate[]> => {
  const saleIds = grants.map((grant) => grant.saleId);
  const ids = grants.map((grant) => grant.grantId);
  const units = grants.map((grant) => grant.units);
  const { rows } = await sql(TAKE_GRANTS, [saleIds, ids, units, shard, shard]);
  const taken = new Set(rows.map((row) => grantKey(row["sale_id"], row["id"], row["units"])));
  if (taken.size === grants.length) return grants.map(() => GrantFate.taken);
  const before = await sql(
    `SELECT g.sale_id, g.id, g.units FROM grants g JOIN unnest(?::text[], ?::text[], ?::bigint[]) AS w (sale_id, id, units) USING (sale_id, id, units)
     WHERE g.shard = ? AND g.state = '${GrantState.done}'`,
    [saleIds, ids, units, shard],
  );
  const done = new Set(before.rows.map((row) => grantKey(row["sale_id"], row["id"], row["units"])));
  return grants.map((grant) => {
    const key = grantKey(grant.saleId, grant.grantId, grant.units);
    // The same grant twice in one record: the first was taken, the second was done before.
    if (taken.delete(key)) return GrantFate.taken;
    return done.has(key) ? GrantFate.doneBefore : GrantFate.unknown;
  });
};

/**
 * To a receiver that drains nothing is sent: the units go back to the donor. The receiver's row is only referred to: a
 * foreign key's share lock does not wait for the updates of its applier.
 */
const WITHDRAW = `
  WITH lowered AS (
    UPDATE sale_shards SET quota = quota - ?::bigint WHERE sale_id = ? AND shard = ? AND sold <= quota - ?::bigint
    RETURNING sale_id, shard
  )
  INSERT INTO grants (sale_id, id, shard, units, kind, from_shard)
  SELECT l.sale_id, ?, coalesce(r.shard, l.shard), ?::bigint, '${GrantKind.transfer}', l.shard
  FROM lowered l LEFT JOIN sale_shards r ON r.sale_id = l.sale_id AND r.shard = ? AND r.shard NOT IN (SELECT shard FROM shards WHERE draining)`;

const withdraw = async (sql: Sql, shard: number, epoch: number, withdrawal: PlannedWithdrawal): Promise<WithdrawFate> => {
  const { saleId, seq, receiver, units } = withdrawal;
  const id = transferGrantId(shard, { epoch, seq });
  await holdDraining(sql);
  const { rowCount } = await sql(WITHDRAW, [units, saleId, shard, units, id, units, receiver]);
  if (rowCount === 1) return WithdrawFate.sent;
  const { rows } = await sql("SELECT FROM sale_shards WHERE sale_id = ? AND shard = ?", [saleId, shard]);
  return rows.length === 1 ? WithdrawFate.overdrawn : WithdrawFate.unknown;
};

const BEGIN_EPOCH = `
  WITH begun AS (
    UPDATE shards SET epoch = epoch + 1, applied = 0, attempt = ?, mode = ?, flagged = false, gap_at = NULL, gap_stream_seq = NULL, wall = false
    WHERE shard = ? AND epoch = ? AND applied = ?
    RETURNING shard
  ), withdrawn AS (
    UPDATE sales SET returns_seq = returns_seq + 1, sold_out_version = NULL
    FROM sale_shards JOIN begun USING (shard) WHERE sales.id = sale_shards.sale_id AND NOT sales.archived
    RETURNING ever_sold_out AND quota > sold AS flagged
  )
  SELECT shard, (SELECT bool_or(flagged) FROM withdrawn) AS flagged FROM begun`;

/** A statement of its own: only behind the locks of the sales it is known which were flagged, and one statement changes a row once. */
const FLAG_EPOCH = `UPDATE shards SET flagged = true WHERE shard = ?`;

/** Orders refused in one epoch that a status event names at most: 10,000 stay far below NATS's megabyte. */
const REJECTED_LIMIT = 10_000;

const rejectedOf = async (sql: Sql, shard: number, epoch: number): Promise<RejectedOrder[]> => {
  const { rows } = await sql(
    `SELECT seq, idx, reason FROM orders WHERE shard = ? AND epoch = ? AND state = '${OrderState.rejected}' ORDER BY seq, idx LIMIT ?`,
    [shard, epoch, REJECTED_LIMIT],
  );
  return rows.map((row) => ({ seq: Number(row["seq"]), index: Number(row["idx"]), reason: String(row["reason"]) }));
};

/** @param isCareful a constraint was violated in a first try */
const transactionOn = (sql: Sql, shard: number, isCareful: boolean): ApplyTransaction => ({
  insertOrders: async (epoch, orders) => {
    const count = await insert(sql, isCareful ? INSERT_WHAT_FITS : INSERT, { shard, epoch }, orders, OrderState.pendingPayment, null);
    return count === orders.length ? [] : notInserted(sql, shard, epoch, orders);
  },
  insertRejected: async (epoch, orders, reason) => {
    await insert(sql, INSERT, { shard, epoch }, orders, OrderState.rejected, reason);
  },
  rejectInserted: (epoch, orders, reason) => rejectInserted(sql, shard, epoch, orders, reason),
  sell: (units) => sell(sql, shard, units),
  roomOf: async (saleId) => {
    const { rows } = await sql(`SELECT quota - sold AS room FROM sale_shards WHERE sale_id = ? AND shard = ? FOR NO KEY UPDATE`, [
      saleId,
      shard,
    ]);
    return rows[0] === undefined ? undefined : Number(rows[0]["room"]);
  },
  takeGrants: (grants) => takeGrants(sql, shard, grants),
  withdraw: (epoch, withdrawal) => withdraw(sql, shard, epoch, withdrawal),
  advance: async (applied, wall) => {
    await sql(`UPDATE shards SET applied = ?, wall = ?, gap_at = NULL, gap_stream_seq = NULL, halted = NULL WHERE shard = ?`, [
      applied,
      wall,
      shard,
    ]);
  },
  recordGap: async (at, streamSeq) => {
    await sql(`UPDATE shards SET gap_at = ?, gap_stream_seq = ? WHERE shard = ?`, [at, streamSeq, shard]);
  },
  beginEpoch: async ({ from, applied, attempt, mode }) => {
    const { rows } = await sql(BEGIN_EPOCH, [attempt, mode, shard, from, applied]);
    if (rows[0]?.["flagged"] === true) await sql(FLAG_EPOCH, [shard]);
    return rows.length === 1;
  },
  park: async (delivery, reason) => {
    const { rowCount } = await sql(
      `INSERT INTO dead_letters (shard, stream_seq, body, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      [shard, delivery.streamSeq, Buffer.from(delivery.body), reason],
    );
    return rowCount === 1;
  },
  halt: async (reason) => {
    await sql(`UPDATE shards SET halted = ? WHERE shard = ?`, [reason, shard]);
  },
  rejectedOf: (epoch) => rejectedOf(sql, shard, epoch),
});

/** SQLSTATE classes 22 (data exception) and 23 (integrity constraint violation): the same again however often it is tried. */
const NEVER = /^2[23]/;
const UNIQUE_VIOLATION = "23505";

const sqlState = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;

/** The shard's order history in Postgres. */
export const postgresApplyStore = (database: Database): ApplyStore => ({
  transaction: async (shard, work) => {
    const run = (isCareful: boolean) =>
      database.transaction(async (sql) => {
        // NO KEY: an operator who opens a sale on this shard (a foreign key) does not wait for us.
        const { rows } = await sql(`SELECT * FROM shards WHERE shard = ? FOR NO KEY UPDATE`, [shard]);
        if (rows[0] === undefined) throw new Error(`shard ${shard} has no row`);
        return work(readShardRow(rows[0]), transactionOn(sql, shard, isCareful));
      });
    try {
      return await run(false).catch((error: unknown) => {
        // The constraint that a sound history never violates: all of it is rolled back, and done again so that it names who is refused.
        if (sqlState(error) === UNIQUE_VIOLATION) return run(true);
        throw error;
      });
    } catch (error) {
      const state = sqlState(error);
      if (state !== undefined && NEVER.test(state))
        throw new Unappliable(`Postgres refuses it (SQLSTATE ${state}): ${(error as Error).message}`);
      throw error;
    }
  },
});
