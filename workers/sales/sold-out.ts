import { RequestError, type Reply, type SoldOutFacts } from "#protocol/requests";
import type { SoldOutFlag } from "#protocol/sale";
import type { EntityManager, Sql } from "../db/database.ts";
import { Sale } from "../db/entities.ts";
import { GrantState } from "../db/states.ts";

/** What Postgres knows about a sale for the decision of DESIGN 7.4. Raw: one statement over four tables sees one moment. */
export const soldOutFacts = async (sql: Sql, saleId: string): Promise<Reply<SoldOutFacts>> => {
  const { rows } = await sql(
    `SELECT returns_seq, sold_out_version IS NOT NULL AS sold_out,
       (SELECT count(*) FROM grants g WHERE g.sale_id = s.id AND g.state = '${GrantState.sent}') AS sent,
       (SELECT json_agg(json_build_array(sh.shard, sh.epoch) ORDER BY sh.shard)
          FROM sale_shards ss JOIN shards sh ON sh.shard = ss.shard WHERE ss.sale_id = s.id) AS epochs,
       (SELECT json_agg(ss.shard ORDER BY ss.shard) FROM sale_shards ss WHERE ss.sale_id = s.id AND ss.quota = ss.sold) AS "full"
     FROM sales s WHERE id = ?`,
    [saleId],
  );
  const row = rows[0];
  if (row === undefined) return { ok: false, code: RequestError.notFound, detail: `no sale ${saleId}` };
  return {
    ok: true,
    value: {
      returnsSeq: Number(row["returns_seq"]),
      sentGrants: Number(row["sent"]),
      soldOut: row["sold_out"] === true,
      epochs: (row["epochs"] ?? []) as [number, number][],
      full: (row["full"] ?? []) as number[],
    },
  };
};

/** Flags a sale sold out, unless a unit was freed, an epoch began since `returnsSeq` was read, or the sale is archived. */
export const setSoldOut = async (em: EntityManager, saleId: string, returnsSeq: number): Promise<Reply<Record<string, never>>> => {
  const flagged = await em.nativeUpdate(
    Sale,
    { id: saleId, returnsSeq, archived: false },
    { soldOutVersion: returnsSeq, everSoldOut: true },
  );
  return flagged === 1
    ? { ok: true, value: {} }
    : { ok: false, code: RequestError.overtaken, detail: `returns_seq of ${saleId} is not ${returnsSeq}` };
};

/** Raw: asked twice a second by every gateway, and no entities need be made of all the sales that were ever sold out. */
const readFlags = async (sql: Sql): Promise<readonly SoldOutFlag[]> => {
  const { rows } = await sql("SELECT id, sold_out_version FROM sales WHERE NOT archived AND sold_out_version IS NOT NULL ORDER BY id");
  return rows.map((row) => ({ saleId: String(row["id"]), version: Number(row["sold_out_version"]) }));
};

/**
 * Answers "which sales are sold out?" with a query that began after the question came in: a gateway counts the flag's
 * lease from its asking, so an older answer would be believed too long. Those who ask while a query runs share the next.
 */
export const soldOutFlags = (sql: Sql): (() => Promise<readonly SoldOutFlag[]>) => {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<readonly SoldOutFlag[]> | undefined;
  return () => {
    if (next !== undefined) return next;
    const started = running
      .catch(() => undefined)
      .then(() => {
        next = undefined;
        running = readFlags(sql);
        return running as Promise<readonly SoldOutFlag[]>;
      });
    next = started;
    return started;
  };
};
