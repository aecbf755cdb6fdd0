import { formatOrderId } from "#protocol/order-id";
import { OrderState } from "#protocol/order";
import type { PurchaseOrder, PurchaseOrdersRequest } from "#protocol/requests/purchase-orders";
import type { Row, Sql } from "../db/database.ts";
import { msOf } from "../db/timestamp.ts";

const COLUMNS = `o.shard, o.epoch, o.seq, o.idx, o.units, o.state, o.reason,
  CASE WHEN o.state = '${OrderState.pendingPayment}' AND s.pay_within_ms > 0 THEN ${msOf("o.created_at")} + s.pay_within_ms END AS pay_by_ms`;
const OF_PURCHASE = "o.sale_id = s.id AND o.uid = a.uid AND o.purchase_key = a.purchase_key";

/**
 * Of each purchase the order that binds its buyer, by the unique index, or else the first that was refused: the answer that a
 * rebuild would give Redis (restore/postgres.ts). Refused ones are few, if there are any, and have an index of their own.
 */
const READ = `
  WITH asked AS (
    SELECT * FROM unnest(?::text[], ?::text[]) WITH ORDINALITY AS a (uid, purchase_key, n)
  )
  SELECT a.n, ${COLUMNS} FROM sales s CROSS JOIN asked a JOIN orders o ON ${OF_PURCHASE}
  WHERE s.id = ? AND o.state <> '${OrderState.rejected}'
  UNION ALL
  SELECT a.n, ${COLUMNS} FROM sales s CROSS JOIN asked a JOIN orders o ON ${OF_PURCHASE}
  WHERE s.id = ? AND o.state = '${OrderState.rejected}'
  ORDER BY epoch, seq, idx`;

const readRow = (row: Row): PurchaseOrder => ({
  orderId: formatOrderId({ shard: Number(row["shard"]), epoch: Number(row["epoch"]), seq: Number(row["seq"]), index: Number(row["idx"]) }),
  units: Number(row["units"]),
  state: row["state"] as OrderState,
  payByMs: row["pay_by_ms"] === null ? null : Number(row["pay_by_ms"]),
  reason: row["state"] === OrderState.rejected ? String(row["reason"]) : null,
});

/** The orders of a sale's purchases, all of one moment. @returns one for each, in their order */
export const readPurchaseOrders = async (
  sql: Sql,
  { saleId, purchases }: PurchaseOrdersRequest,
): Promise<readonly (PurchaseOrder | null)[]> => {
  const { rows } = await sql(READ, [purchases.map(({ uid }) => uid), purchases.map(({ key }) => key), saleId, saleId]);
  const orders: (PurchaseOrder | null)[] = purchases.map(() => null);
  for (const row of rows) {
    const at = Number(row["n"]) - 1;
    if (orders[at] === null || row["state"] !== OrderState.rejected) orders[at] = readRow(row);
  }
  return orders;
};
