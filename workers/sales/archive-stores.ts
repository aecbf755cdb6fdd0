import { shardState, stock, type ScriptRedis } from "#lua";
import { SaleState } from "#protocol/sale";
import type { Database, Sql } from "../db/database.ts";
import { GrantState, OrderState } from "../db/states.ts";
import { ArchiveEnd, type ArchiveShards, type ArchiveStore, type EndedSale, type LookedShard } from "./archive-ports.ts";

/** A look at a sale takes some milliseconds and a commit: a round of so many ends within seconds, and the next goes on. */
const SALES_A_ROUND = 100;

const NOW_MS = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

const PENDING = `EXISTS (SELECT FROM orders o WHERE o.sale_id = s.id AND o.state = '${OrderState.pendingPayment}')`;
const SENT = `EXISTS (SELECT FROM grants g WHERE g.sale_id = s.id AND g.state = '${GrantState.sent}')`;

const DUE = `
  SELECT s.id FROM sales s
  WHERE NOT s.archived AND least(s.closes_at_ms, floor(extract(epoch FROM s.closed_at) * 1000)::bigint) <= ${NOW_MS} - ?::bigint
    AND NOT ${PENDING} AND NOT ${SENT}
  ORDER BY s.created_at, s.id LIMIT ${SALES_A_ROUND}`;

/** A repeat of it changes nothing, and neither does it where somebody has closed the sale. */
const CLOSE_IF_OVER = `
  UPDATE sales SET state = '${SaleState.closed}', version = version + 1, closed_at = now()
  WHERE id = ? AND state <> '${SaleState.closed}' AND closes_at_ms <= ${NOW_MS}`;

const READ = `
  SELECT s.archived, s.state, (SELECT array_agg(ss.shard ORDER BY ss.shard) FROM sale_shards ss WHERE ss.sale_id = s.id) AS shards
  FROM sales s WHERE s.id = ?`;

const end = async (sql: Sql, saleId: string): Promise<EndedSale | undefined> => {
  await sql(CLOSE_IF_OVER, [saleId]);
  const { rows } = await sql(READ, [saleId]);
  const row = rows[0];
  if (row === undefined) return undefined;
  return { saleId, isArchived: row["archived"] === true, isOnSale: row["state"] !== SaleState.closed, shards: row["shards"] as number[] };
};

/** Postgres has all that the shard's Redis can have of the sale. */
const ROWS = `
  SELECT count(*) AS fit FROM (
    SELECT sh.shard FROM shards sh JOIN unnest(?::int[], ?::bigint[], ?::bigint[]) AS l (shard, epoch, seq)
      ON sh.shard = l.shard AND sh.epoch = l.epoch AND sh.applied >= l.seq
    WHERE NOT sh.wall AND sh.halted IS NULL ORDER BY sh.shard FOR SHARE OF sh
  ) AS fitting`;

/**
 * The shards' rows before the sale's, as an applier locks them, so that no epoch begins before the commit: a rebuild in a later
 * one reads the sale as archived. Behind the sale's lock everybody who gives units back has committed, or will see it archived.
 */
const archive = async (sql: Sql, saleId: string, looked: readonly LookedShard[]): Promise<ArchiveEnd> => {
  const { rows: fitting } = await sql(ROWS, [
    looked.map(({ shard }) => shard),
    looked.map(({ epoch }) => epoch),
    looked.map(({ seq }) => seq),
  ]);
  if (Number(fitting[0]?.["fit"]) !== looked.length) return ArchiveEnd.notApplied;
  const { rowCount } = await sql("SELECT FROM sales WHERE id = ? FOR UPDATE", [saleId]);
  if (rowCount === 0) return ArchiveEnd.noSale;
  const { rows } = await sql(`SELECT s.archived, ${PENDING} AS pending, ${SENT} AS sent FROM sales s WHERE s.id = ?`, [saleId]);
  if (rows[0]?.["archived"] === true) return ArchiveEnd.archived;
  if (rows[0]?.["pending"] === true) return ArchiveEnd.ordersPending;
  if (rows[0]?.["sent"] === true) return ArchiveEnd.unitsMoving;
  await sql(
    "UPDATE sales SET archived = true, version = version + 1, returns_seq = returns_seq + 1, sold_out_version = NULL WHERE id = ?",
    [saleId],
  );
  // No worker of the version before, which knows of no archived sale, has anything to deliver in this epoch.
  await sql(
    `UPDATE sale_shards ss SET dropped_epoch = 0, delivered_version = s.version, delivered_epoch = sh.epoch
     FROM sales s, shards sh WHERE ss.sale_id = ? AND s.id = ss.sale_id AND sh.shard = ss.shard`,
    [saleId],
  );
  return ArchiveEnd.archived;
};

/** Raw: each statement is a condition on the state in which it finds several tables. */
export const postgresArchiveStore = (database: Database): ArchiveStore => ({
  due: async (afterMs) => (await database.sql(DUE, [afterMs])).rows.map((row) => String(row["id"])),
  end: (saleId) => end(database.sql, saleId),
  archive: (saleId, looked) => database.transaction((sql) => archive(sql, saleId, looked)),
});

/** @param redisOf undefined for a shard that is in the database but not configured here */
export const redisArchiveShards = (redisOf: (shard: number) => ScriptRedis | undefined): ArchiveShards => {
  const of = (shard: number): ScriptRedis => {
    const redis = redisOf(shard);
    if (redis === undefined) throw new Error(`shard ${shard} is not configured`);
    return redis;
  };
  return {
    stock: (shard, saleId) => stock(of(shard), { shard, saleId }),
    state: (shard) => shardState(of(shard), { shard }),
  };
};
