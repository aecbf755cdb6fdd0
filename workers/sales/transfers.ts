import { RequestError, type Reply, type TransferFacts } from "#protocol/requests";
import type { EntityManager, Sql } from "../db/database.ts";
import { Shard } from "../db/entities.ts";
import { GrantKind, GrantState } from "../db/states.ts";

/**
 * What Postgres knows about a sale's shards for moving its units (DESIGN 7.3). Raw: one statement sees one moment. A transfer
 * after which stock was added counts no more: what is there now came for nobody.
 */
export const transferFacts = async (sql: Sql, saleId: string): Promise<Reply<TransferFacts>> => {
  const { rows } = await sql(
    `SELECT ss.shard, ss.sold, sh.draining, coalesce(sent.units, 0) AS sent, coalesce(received.units, 0) AS received,
       extract(epoch FROM now() - received.created_at) * 1000 AS received_ago_ms
     FROM sale_shards ss JOIN shards sh ON sh.shard = ss.shard
     LEFT JOIN LATERAL (
       SELECT sum(g.units) AS units FROM grants g
       WHERE g.sale_id = ss.sale_id AND g.shard = ss.shard AND g.state = '${GrantState.sent}'
     ) sent ON true
     LEFT JOIN LATERAL (
       SELECT g.units, g.created_at, g.kind FROM grants g
       WHERE g.sale_id = ss.sale_id AND g.shard = ss.shard ORDER BY g.created_at DESC LIMIT 1
     ) received ON received.kind = '${GrantKind.transfer}'
     WHERE ss.sale_id = ? ORDER BY ss.shard`,
    [saleId],
  );
  if (rows.length === 0) return { ok: false, code: RequestError.notFound, detail: `no sale ${saleId}` };
  return {
    ok: true,
    value: rows.map((row) => ({
      shard: Number(row["shard"]),
      soldUnits: Number(row["sold"]),
      sentUnits: Number(row["sent"]),
      isDraining: row["draining"] === true,
      receivedUnits: Number(row["received"]),
      receivedAgoMs: row["received_ago_ms"] === null ? null : Math.max(0, Math.round(Number(row["received_ago_ms"]))),
    })),
  };
};

/** Shards that are to be emptied. */
export const drainingShards = async (em: EntityManager): Promise<readonly number[]> => {
  const shards = await em.find(Shard, { draining: true }, { fields: ["shard"], orderBy: { shard: "asc" }, disableIdentityMap: true });
  return shards.map(({ shard }) => shard);
};
