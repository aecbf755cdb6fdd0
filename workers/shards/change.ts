import type { Redis } from "ioredis";
import { RequestError, type Reply } from "#protocol/requests";
import type { ShardChange } from "#protocol/shard-facts";
import { shardState } from "#lua/shard/shard-state";
import type { Database } from "../db/database.ts";
import { changeDraining } from "../db/drain-lock.ts";
import { Shard } from "../db/entities.ts";
import { readShard } from "../db/shard-row.ts";

/** Stands for the attempt in a row whose epoch an operator ended; no coordinator's nonce is like it. */
const DISCARDED = "discarded";

const done: Reply<undefined> = { ok: true, value: undefined };
const refuse = (code: RequestError, detail: string): Reply<never> => ({ ok: false, code, detail });

const setDraining = (database: Database, shard: number, draining: boolean): Promise<Reply<undefined>> =>
  database.transaction(async (sql, em) => {
    await em.nativeUpdate(Shard, { shard }, { draining });
    await changeDraining(sql);
    return done;
  });

/**
 * Safe whenever it is asked: the shard stays closed until an attempt has appended what Redis still holds and a worker has
 * applied it, and the same cause halts it again. Also for a halt whose log record was lost with the log.
 */
const retry = async (database: Database, shard: number): Promise<Reply<undefined>> => {
  const retried = await database.em().nativeUpdate(Shard, { shard, halted: { $ne: null } }, { halted: null });
  return retried === 1 ? done : refuse(RequestError.conflict, `shard ${shard} is not halted`);
};

/**
 * As the beginning of an epoch does it: flags are withdrawn, because units that were sold in Redis only are free again. One
 * raw statement: only the row that is still in the epoch that was looked at begins another, and with it its sales are changed.
 */
const BEGIN = `
  WITH begun AS (
    UPDATE shards SET epoch = GREATEST(epoch, ?) + 1, applied = 0, attempt = '${DISCARDED}', mode = 'rebuild',
      gap_at = NULL, gap_stream_seq = NULL, wall = false, halted = NULL
    WHERE shard = ? AND epoch = ? RETURNING shard
  ), withdrawn AS (
    UPDATE sales SET returns_seq = returns_seq + 1, sold_out_version = NULL
    FROM sale_shards JOIN begun USING (shard) WHERE sales.id = sale_shards.sale_id AND NOT sales.archived
  )
  SELECT shard FROM begun`;

/**
 * Ends the shard's epoch without its entries: from this commit on Postgres refuses all of them, wherever they still are
 * (outbox, log, an append under way), and the next attempt finds Redis behind the row and rebuilds it. The epoch goes
 * beyond Redis's own, so that a Redis with a higher one than Postgres (another deployment's, or an older Postgres) can be
 * rebuilt too. Reservations that Postgres has not applied are lost: only of a shard that does not sell.
 */
const discard = async (database: Database, redis: Redis, shard: number): Promise<Reply<undefined>> => {
  let state;
  try {
    state = await shardState(redis, { shard });
  } catch {
    return refuse(
      RequestError.unavailable,
      `the Redis of shard ${shard} does not answer: start one (an empty one will do) at its address first`,
    );
  }
  const row = await readShard(database.em(), shard);
  if (state.isOpen && row.halted === null)
    return refuse(RequestError.conflict, `shard ${shard} is open and sells: there is nothing to discard`);
  const { rows } = await database.sql(BEGIN, [state.epoch, shard, row.epoch]);
  return rows.length === 1 ? done : refuse(RequestError.overtaken, `shard ${shard} has begun another epoch meanwhile`);
};

interface ShardStores {
  readonly database: Database;
  readonly redisOf: (shard: number) => Redis;
}

const changes: Readonly<Record<ShardChange, (stores: ShardStores, shard: number) => Promise<Reply<undefined>>>> = {
  drain: ({ database }, shard) => setDraining(database, shard, true),
  undrain: ({ database }, shard) => setDraining(database, shard, false),
  retry: ({ database }, shard) => retry(database, shard),
  discard: ({ database, redisOf }, shard) => discard(database, redisOf(shard), shard),
};

/** Does what an operator asked for a shard. */
export const changeShard = (
  stores: ShardStores,
  { shard, change }: { readonly shard: number; readonly change: ShardChange },
): Promise<Reply<undefined>> => changes[change](stores, shard);
