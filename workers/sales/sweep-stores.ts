import { saleStateOf, stateInRedis } from "#protocol/sale";
import { archiveSale, defineSale, grant, settle, type ScriptRedis } from "#lua";
import type { Sql } from "../db/database.ts";
import { GrantKind, GrantState } from "../db/states.ts";
import type { UndroppedSale } from "./archive-ports.ts";
import type { SentGrant, SweepShards, SweepStore, UndeliveredSale } from "./sweep-ports.ts";

/** Grants that one round delivers to a shard at most; a round comes every 200 ms. A shard that is down holds up no other. */
const GRANTS_A_ROUND = 500;

/** Archived sales that one round takes out of Redis at most. */
const DROPPED_A_ROUND = 200;

const undelivered = async (sql: Sql): Promise<UndeliveredSale[]> => {
  const { rows } = await sql(
    `SELECT s.id, s.version, s.state, s.limit_per_buyer, s.opens_at_ms, s.closes_at_ms, sh.shard, sh.epoch
     FROM sale_shards ss JOIN sales s ON s.id = ss.sale_id JOIN shards sh ON sh.shard = ss.shard
     WHERE sh.epoch > 0 AND NOT s.archived AND (ss.delivered_version < s.version OR ss.delivered_epoch <> sh.epoch) ORDER BY s.id`,
  );
  return rows.map((row) => ({
    shard: Number(row["shard"]),
    epoch: Number(row["epoch"]),
    saleId: String(row["id"]),
    version: Number(row["version"]),
    state: stateInRedis(saleStateOf(String(row["state"]))),
    limit: Number(row["limit_per_buyer"]),
    opensAtMs: Number(row["opens_at_ms"]),
    closesAtMs: Number(row["closes_at_ms"]),
  }));
};

const sentGrants = async (sql: Sql): Promise<SentGrant[]> => {
  const { rows } = await sql(
    `SELECT g.sale_id, g.id, g.shard, g.units, g.flagged, g.kind = '${GrantKind.returned}' AND NOT g.offered AS revocable, sh.epoch
     FROM shards sh
     CROSS JOIN LATERAL (
       SELECT * FROM grants WHERE grants.shard = sh.shard AND state = '${GrantState.sent}' ORDER BY created_at, id LIMIT ?
     ) g WHERE sh.epoch > 0`,
    [GRANTS_A_ROUND],
  );
  return rows.map((row) => ({
    shard: Number(row["shard"]),
    epoch: Number(row["epoch"]),
    saleId: String(row["sale_id"]),
    grantId: String(row["id"]),
    units: Number(row["units"]),
    flagged: row["flagged"] === true,
    revocable: row["revocable"] === true,
  }));
};

const undropped = async (sql: Sql): Promise<UndroppedSale[]> => {
  const { rows } = await sql(
    `SELECT ss.sale_id, ss.shard, sh.epoch FROM sale_shards ss JOIN shards sh ON sh.shard = ss.shard
     WHERE ss.dropped_epoch = 0 AND sh.epoch > 0 LIMIT ?`,
    [DROPPED_A_ROUND],
  );
  return rows.map((row) => ({ shard: Number(row["shard"]), epoch: Number(row["epoch"]), saleId: String(row["sale_id"]) }));
};

/** Raw: it compares columns of three tables and changes rows only from the state in which they were read, five times a second. */
export const postgresSweepStore = (sql: Sql): SweepStore => ({
  undelivered: () => undelivered(sql),
  sentGrants: () => sentGrants(sql),
  offer: async (grants) => {
    const { rows } = await sql(
      `UPDATE grants g SET offered = true FROM unnest(?::text[], ?::text[], ?::int[]) AS w (sale_id, id, shard)
       WHERE g.sale_id = w.sale_id AND g.id = w.id AND g.shard = w.shard AND g.state = '${GrantState.sent}' RETURNING g.sale_id, g.id`,
      [grants.map((grant) => grant.saleId), grants.map((grant) => grant.grantId), grants.map((grant) => grant.shard)],
    );
    const offered = new Set(rows.map((row) => `${String(row["sale_id"])}:${String(row["id"])}`));
    return grants.filter((grant) => offered.has(`${grant.saleId}:${grant.grantId}`));
  },
  positions: async () => {
    const { rows } = await sql("SELECT shard, epoch, applied, wall FROM shards WHERE epoch > 0 ORDER BY shard");
    return rows.map((row) => ({
      shard: Number(row["shard"]),
      epoch: Number(row["epoch"]),
      applied: Number(row["applied"]),
      wall: row["wall"] === true,
    }));
  },
  delivered: async (sale) => {
    await sql(
      `UPDATE sale_shards SET delivered_version = greatest(delivered_version, ?), delivered_epoch = ?
       WHERE sale_id = ? AND shard = ? AND delivered_epoch <= ?`,
      [sale.version, sale.epoch, sale.saleId, sale.shard, sale.epoch],
    );
  },
  notDelivered: async (shard, saleId) => {
    await sql("UPDATE sale_shards SET delivered_version = 0 WHERE sale_id = ? AND shard = ?", [saleId, shard]);
  },
  undropped: () => undropped(sql),
  dropped: async ({ saleId, shard, epoch }) => {
    await sql("UPDATE sale_shards SET dropped_epoch = ? WHERE sale_id = ? AND shard = ? AND dropped_epoch = 0", [epoch, saleId, shard]);
  },
});

/** @param redisOf undefined for a shard that is in the database but not configured here */
export const redisSweepShards = (redisOf: (shard: number) => ScriptRedis | undefined): SweepShards => {
  const of = (shard: number): ScriptRedis => {
    const redis = redisOf(shard);
    if (redis === undefined) throw new Error(`shard ${shard} is not configured`);
    return redis;
  };
  return {
    defineSale: (sale) => defineSale(of(sale.shard), sale),
    grant: (sent) => grant(of(sent.shard), sent),
    settle: ({ shard, epoch, applied }) => settle(of(shard), { shard, epoch, applied }),
    drop: (sale) => archiveSale(of(sale.shard), sale),
  };
};
