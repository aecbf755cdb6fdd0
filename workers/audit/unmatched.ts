import type { Knex } from "@mikro-orm/postgresql";
import { DifferenceKind, type Difference } from "./difference.ts";

/** Of each of the two; where more are wrong, those are enough to look at. */
const LISTED = 100;

/** A closed order and the grant that gives its units back, one to one: by the id that the grant has after its order. */
const RETURNS = `
  SELECT coalesce(o.sale_id, g.sale_id) AS sale_id, coalesce(o.shard, g.shard) AS shard, o.uid, o.state, o.units, g.id, g.units AS returned
  FROM (
    SELECT sale_id, shard, uid, units, state, concat('r', shard, '-', epoch, '-', seq, '-', idx) AS grant_id
    FROM orders WHERE state IN ('expired', 'cancelled', 'refunded')
  ) o
  FULL JOIN (SELECT sale_id, shard, id, units FROM grants WHERE kind = 'returned') g
    ON g.sale_id = o.sale_id AND g.shard = o.shard AND g.id = o.grant_id
  WHERE o.uid IS NULL OR g.id IS NULL OR g.units <> o.units LIMIT ${LISTED}`;

/** A paid order and the payment that is kept for it, one to one. */
const PAYMENTS = `
  SELECT coalesce(o.sale_id, p.sale_id) AS sale_id, coalesce(o.shard, p.shard) AS shard, coalesce(o.uid, p.uid) AS uid, p.id
  FROM (SELECT sale_id, uid, shard, epoch, seq, idx FROM orders WHERE state = 'paid') o
  FULL JOIN (SELECT * FROM payments WHERE decision <> 'refund') p
    ON (p.shard, p.epoch, p.seq, p.idx) = (o.shard, o.epoch, o.seq, o.idx) AND p.sale_id = o.sale_id AND p.uid = o.uid
  WHERE o.uid IS NULL OR p.id IS NULL LIMIT ${LISTED}`;

/** Archived sales that are not over. */
const ARCHIVED = `
  SELECT s.id AS sale_id, EXISTS (SELECT FROM orders o WHERE o.sale_id = s.id AND o.state = 'pending_payment') AS pending
  FROM sales s WHERE s.archived AND (
    EXISTS (SELECT FROM orders o WHERE o.sale_id = s.id AND o.state = 'pending_payment')
    OR EXISTS (SELECT FROM grants g WHERE g.sale_id = s.id AND g.state = 'sent')) LIMIT ${LISTED}`;

/** bigint columns come as text */
interface Row {
  readonly sale_id: string;
  readonly shard: number;
  readonly uid: string | null;
  /** of the grant or the payment */
  readonly id: string | null;
}
interface ReturnRow extends Row {
  readonly state: string | null;
  readonly units: number | null;
  readonly returned: string | null;
}

interface ArchivedRow {
  readonly sale_id: string;
  readonly pending: boolean;
}

const archivedDifference = ({ sale_id: saleId, pending }: ArchivedRow): Difference => ({
  kind: DifferenceKind.archivedEarly,
  saleId,
  shard: null,
  uid: null,
  count: 1,
  detail: pending ? "archived with an order that is neither paid nor over" : "archived with units on their way to a shard",
});

const difference = (row: Row, kind: DifferenceKind, detail: string): Difference => {
  return { kind, saleId: row.sale_id, shard: row.shard, uid: row.uid, count: 1, detail };
};

const returnDifference = (row: ReturnRow): Difference => {
  if (row.id === null)
    return difference(row, DifferenceKind.returnMissing, `the order is ${row.state}, its ${row.units} units are not given back`);
  const of = row.uid === null ? "no closed order" : `a closed order of ${row.units}`;
  return difference(row, DifferenceKind.returnUnfounded, `grant ${row.id} gives ${row.returned} units back, of ${of}`);
};

const paymentDifference = (row: Row): Difference =>
  difference(
    row,
    DifferenceKind.paymentDiffers,
    row.id === null ? "the order is paid, no payment is kept" : `payment ${row.id} is kept, its order is not paid`,
  );

/** What Postgres should hold in pairs and does not, in the caller's snapshot. */
export const readUnmatched = async (sql: Knex): Promise<readonly Difference[]> => {
  const returns = (await sql.raw<{ rows: ReturnRow[] }>(RETURNS)).rows;
  const payments = (await sql.raw<{ rows: Row[] }>(PAYMENTS)).rows;
  const archived = (await sql.raw<{ rows: ArchivedRow[] }>(ARCHIVED)).rows;
  return [
    ...returns.map((row) => returnDifference(row)),
    ...payments.map((row) => paymentDifference(row)),
    ...archived.map((row) => archivedDifference(row)),
  ];
};
