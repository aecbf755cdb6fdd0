import type { Row, Sql } from "../db/database.ts";
import { SaleState } from "#protocol/sale";

/**
 * Units for which another shard is worth while, where the operator does not say: one shard decides hundreds of thousands
 * of purchases a second, so a thousand units are gone from it within milliseconds, and spread thinner they would only
 * have to be gathered again.
 */
export const UNITS_A_SHARD = 1_000;

export interface Share {
  readonly shard: number;
  /** from 1 */
  readonly units: number;
}

/** Deals units evenly: the shares differ by one at most, the first shards have the larger; no share is empty. */
export const deal = (units: number, shards: readonly number[]): readonly Share[] => {
  const least = Math.floor(units / shards.length);
  const rest = units % shards.length;
  return shards.map((shard, index) => ({ shard, units: index < rest ? least + 1 : least })).filter((share) => share.units > 0);
};

/** On how many of `available` shards so many units are put where the operator does not say. */
export const usualShardCount = (units: number, available: number): number =>
  Math.max(1, Math.min(available, Math.floor(units / UNITS_A_SHARD)));

const shardsOf = (rows: readonly Row[]): number[] => rows.map((row) => Number(row["shard"]));

/**
 * The shards that a new sale may be put on, those with the least units and then sales that are still on sale first. One
 * that is halted or draining gets nothing.
 */
export const openShards = async (sql: Sql, configured: number): Promise<readonly number[]> => {
  const { rows } = await sql(
    `SELECT sh.shard FROM shards sh
     LEFT JOIN sale_shards ss ON ss.shard = sh.shard
     LEFT JOIN LATERAL (
       SELECT s.id, s.total_units::float / (SELECT count(*) FROM sale_shards n WHERE n.sale_id = s.id) AS units FROM sales s
       WHERE s.id = ss.sale_id AND s.state <> '${SaleState.closed}' AND s.closes_at_ms > extract(epoch FROM now()) * 1000
     ) s ON true
     WHERE sh.shard < ? AND sh.halted IS NULL AND NOT sh.draining
     GROUP BY sh.shard ORDER BY coalesce(sum(s.units), 0), count(s.id), sh.shard`,
    [configured],
  );
  return shardsOf(rows);
};

/**
 * The sale's shards that added stock is dealt to, those with the least unsold units first. One that is halted or
 * draining gets nothing, unless all are.
 */
export const receivingShards = async (sql: Sql, saleId: string): Promise<readonly number[]> => {
  const { rows } = await sql(
    `SELECT ss.shard, sh.halted IS NULL AND NOT sh.draining AS fit FROM sale_shards ss JOIN shards sh ON sh.shard = ss.shard
     WHERE ss.sale_id = ? ORDER BY ss.quota - ss.sold, ss.shard`,
    [saleId],
  );
  const fit = rows.filter((row) => row["fit"] === true);
  return shardsOf(fit.length > 0 ? fit : rows);
};
