import type { Redis } from "ioredis";
import { holderOf, ShardState, type ShardFacts } from "#protocol/shard-facts";
import { saleKeys } from "#lua/core/keys";
import { shardState, type ShardState as RedisState } from "#lua/shard/shard-state";
import type { Row, Sql } from "../db/database.ts";
import { readShardRow } from "../db/shard-row.ts";
import { GrantState } from "../db/states.ts";
import { SaleState } from "#protocol/sale";
import type { AttemptBoard } from "./attempt-board.ts";

export interface FactSources {
  readonly sql: Sql;
  /** how many shards are configured */
  readonly shards: number;
  readonly redisOf: (shard: number) => Redis;
  readonly attempts: AttemptBoard;
}

/** Sales on sale, with what each shard has of them. */
const ON_SALE = `
  SELECT ss.shard, ss.sale_id, ss.quota, ss.sold,
    (SELECT coalesce(sum(g.units), 0) FROM grants g WHERE g.sale_id = ss.sale_id AND g.shard = ss.shard AND g.state = '${GrantState.sent}') AS arriving
  FROM sale_shards ss JOIN sales s ON s.id = ss.sale_id
  WHERE s.state <> '${SaleState.closed}' AND s.closes_at_ms > extract(epoch FROM now()) * 1000`;

interface InPostgres {
  readonly saleIds: readonly string[];
  readonly quota: number;
  readonly sold: number;
  readonly arriving: number;
}

const inPostgres = (rows: readonly Row[], shard: number): InPostgres => {
  const own = rows.filter((row) => row["shard"] === shard);
  const sum = (column: string): number => own.reduce((total, row) => total + Number(row[column]), 0);
  return { saleIds: own.map((row) => String(row["sale_id"])), quota: sum("quota"), sold: sum("sold"), arriving: sum("arriving") };
};

interface InRedis {
  readonly state: RedisState;
  readonly left: number;
}

const inRedis = async (redis: Redis, shard: number, saleIds: readonly string[]): Promise<InRedis> => {
  const state = await shardState(redis, { shard });
  const lefts = await redis.pipeline(saleIds.map((saleId) => ["hget", saleKeys(shard, saleId).sale, "left"])).exec();
  let left = 0;
  for (const [error, value] of lefts ?? []) {
    if (error !== null) throw error;
    left += Number(value ?? 0);
  }
  return { state, left };
};

const stateOf = (
  row: { readonly epoch: number; readonly halted: string | null; readonly draining: boolean },
  redis: InRedis | undefined,
  isEmpty: boolean,
): ShardState => {
  if (row.halted !== null) return ShardState.halted;
  if (redis === undefined) return ShardState.away;
  if (!redis.state.isOpen || redis.state.epoch !== row.epoch) return ShardState.recovering;
  if (!row.draining) return ShardState.open;
  return isEmpty ? ShardState.drained : ShardState.draining;
};

/**
 * What every shard is about, from Postgres and then from each Redis; one that does not answer is `away`.
 * @throws if Postgres does not answer
 */
export const readShardFacts = async ({ sql, shards, redisOf, attempts }: FactSources): Promise<readonly ShardFacts[]> => {
  const rows = (await sql("SELECT * FROM shards WHERE shard < ? ORDER BY shard", [shards])).rows;
  const onSale = (await sql(ON_SALE)).rows;
  return Promise.all(
    rows.map(async (raw) => {
      const row = { ...readShardRow(raw), draining: raw["draining"] === true };
      const { shard } = row;
      const { saleIds, quota, sold, arriving } = inPostgres(onSale, shard);
      const redis = await inRedis(redisOf(shard), shard, saleIds).catch(() => undefined);
      const reserved = redis === undefined ? null : Math.max(0, quota - sold - redis.left);
      const heard = attempts.of(shard);
      const isEmpty = redis?.left === 0 && reserved === 0 && arriving === 0 && redis.state.outboxLength === 0;
      return {
        shard,
        state: stateOf(row, redis, isEmpty),
        epoch: row.epoch,
        redisEpoch: redis?.state.epoch ?? null,
        mode: row.mode,
        holder: redis === undefined ? null : holderOf(redis.state.leaseToken),
        outboxEntries: redis?.state.outboxLength ?? null,
        sales: saleIds.length,
        units: { left: redis?.left ?? null, reserved, sold, arriving },
        halted: row.halted,
        draining: row.draining,
        attempt:
          heard === undefined
            ? null
            : {
                holder: heard.news.holder,
                phase: heard.news.phase,
                orders: heard.news.orders,
                ofUnits: heard.news.ofUnits,
                result: heard.news.result,
                agoMs: heard.agoMs,
              },
      };
    }),
  );
};
