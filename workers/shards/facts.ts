import type { Redis } from "ioredis";
import { RestoreMode, type ShardRow } from "#protocol/row";
import { holderOf, ShardCondition, shardFactsSchema, type ShardFacts } from "#protocol/shard-facts";
import { issuesText } from "#protocol/zod-issues";
import { saleKeys, shardKeys } from "#lua/core/keys";
import { formatPosition, type Position } from "#lua/core/position";
import { shardState, type ShardState as RedisState } from "#lua/shard/shard-state";
import type { Database, EntityManager } from "../db/database.ts";
import { SaleShard } from "../db/entities.ts";
import { readShards } from "../db/shard-row.ts";
import { onSale } from "../sales/on-sale.ts";
import type { AttemptBoard } from "./attempt-board.ts";

export interface FactSources {
  readonly database: Pick<Database, "em">;
  /** how many shards are configured */
  readonly shards: number;
  readonly redisOf: (shard: number) => Redis;
  readonly attempts: AttemptBoard;
}

interface InPostgres {
  readonly saleIds: string[];
  quota: number;
  sold: number;
  arriving: number;
}

/** What each shard has of the sales that are on sale. */
const readOnSale = async (em: EntityManager): Promise<(shard: number) => Readonly<InPostgres>> => {
  const nothing = (): InPostgres => ({ saleIds: [], quota: 0, sold: 0, arriving: 0 });
  const ofShards = new Map<number, InPostgres>();
  for (const dealt of await em.find(SaleShard, { sale: onSale() }, { populate: ["arriving"], disableIdentityMap: true })) {
    const of = ofShards.get(dealt.shard.shard) ?? nothing();
    ofShards.set(dealt.shard.shard, of);
    of.saleIds.push(dealt.sale.id);
    of.quota += dealt.quota;
    of.sold += dealt.sold;
    of.arriving += dealt.arriving;
  }
  return (shard) => ofShards.get(shard) ?? nothing();
};

interface InRedis {
  readonly state: RedisState;
  /** null if one of the counts is no number of units */
  readonly left: number | null;
  /** age of the first entry that is not applied; null if there is none */
  readonly oldestMs: number | null;
  readonly memory: NonNullable<ShardFacts["memory"]>;
}

/** Of what somebody else may have written: null if it is no count. */
const countOf = (value: number): number | null => (Number.isSafeInteger(value) && value >= 0 ? value : null);

/** INFO memory, read as Redis reads it before a script: buffers of replicas and of the append-only file do not count (evict.c). */
const memoryOf = (info: string): InRedis["memory"] => {
  const bytes = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  return { usedBytes: Math.max(0, bytes("used_memory") - bytes("mem_not_counted_for_evict")), mostBytes: bytes("maxmemory") };
};

/** Read without understanding it: an entry that nobody can apply is the one that is asked about. */
const oldestOf = async (redis: Redis, shard: number, applied: Position, nowMs: number): Promise<number | null> => {
  const [first] = await redis.xrange(shardKeys(shard).outbox, `(${formatPosition(applied)}`, "+", "COUNT", 1);
  const fields = first?.[1] ?? [];
  const atMs = Number(fields[fields.indexOf("t") + 1]);
  return first === undefined || Number.isNaN(atMs) ? null : Math.max(0, Math.round(nowMs - atMs));
};

const inRedis = async (redis: Redis, { shard, epoch, applied }: ShardRow, saleIds: readonly string[]): Promise<InRedis> => {
  const state = await shardState(redis, { shard });
  const oldestMs = await oldestOf(redis, shard, { epoch, seq: applied }, state.nowMs);
  const memory = memoryOf(await redis.info("memory"));
  const lefts = await redis.pipeline(saleIds.map((saleId) => ["hget", saleKeys(shard, saleId).sale, "left"])).exec();
  let left = 0;
  for (const [error, value] of lefts ?? []) {
    if (error !== null) throw error;
    left += Number(value ?? 0);
  }
  return { state, left: countOf(left), oldestMs, memory };
};

const stateOf = (
  row: { readonly epoch: number; readonly halted: string | null; readonly draining: boolean },
  redis: InRedis | undefined,
  isEmpty: boolean,
): ShardCondition => {
  if (row.halted !== null) return ShardCondition.halted;
  if (redis === undefined) return ShardCondition.away;
  if (!redis.state.isOpen || redis.state.epoch !== row.epoch) return ShardCondition.recovering;
  if (!row.draining) return ShardCondition.open;
  return isEmpty ? ShardCondition.drained : ShardCondition.draining;
};

/** A row that nobody could read is told of in its place, as a halt, so that the other shards are shown. */
const readable = (facts: ShardFacts): ShardFacts => {
  const read = shardFactsSchema.safeParse(facts);
  if (read.success) return facts;
  return {
    shard: facts.shard,
    state: ShardCondition.halted,
    epoch: 0,
    redisEpoch: null,
    mode: RestoreMode.rebuild,
    holder: null,
    outboxEntries: null,
    oldestMs: facts.oldestMs === undefined ? undefined : null,
    sales: 0,
    units: { left: null, reserved: null, sold: 0, arriving: 0 },
    memory: facts.memory === undefined ? undefined : null,
    halted: `what the stores have of it cannot be read: ${issuesText(read.error)}`,
    draining: false,
    attempt: null,
  };
};

/**
 * What every shard is about, from Postgres and then from each Redis; one that does not answer is `away`.
 * @throws if Postgres does not answer
 */
export const readShardFacts = async (
  { database, shards, redisOf, attempts }: FactSources,
  all: boolean,
): Promise<readonly ShardFacts[]> => {
  const em = database.em();
  const rows = await readShards(em, shards);
  const inPostgres = await readOnSale(em);
  return Promise.all(
    rows.map(async (row) => {
      const { shard } = row;
      const { saleIds, quota, sold, arriving } = inPostgres(shard);
      const redis = await inRedis(redisOf(shard), row, saleIds).catch(() => undefined);
      const left = redis?.left ?? null;
      const reserved = left === null ? null : Math.max(0, quota - sold - left);
      const heard = attempts.of(shard);
      const isEmpty = left === 0 && reserved === 0 && arriving === 0 && redis?.state.outboxLength === 0;
      return readable({
        shard,
        state: stateOf(row, redis, isEmpty),
        epoch: row.epoch,
        redisEpoch: redis === undefined ? null : countOf(redis.state.epoch),
        mode: row.mode,
        holder: redis === undefined ? null : holderOf(redis.state.leaseToken),
        outboxEntries: redis?.state.outboxLength ?? null,
        oldestMs: all ? (redis?.oldestMs ?? null) : undefined,
        sales: saleIds.length,
        units: { left, reserved, sold, arriving },
        memory: all ? (redis?.memory ?? null) : undefined,
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
      });
    }),
  );
};
