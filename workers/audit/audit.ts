import type { Redis } from "ioredis";
import type { Clock } from "#protocol/ports";
import type { Cutoff } from "./comparison.ts";
import type { Comparing, ComparisonPlace } from "./comparison-pool.ts";
import { DifferenceKind, differenceKey, type Difference } from "./difference.ts";
import type { LogPosition, PostgresFacts, ShardInRedis } from "./facts.ts";
import { isBehind, judge, type Judgement } from "./judgement.ts";
import type { AuditDatabase } from "./postgres-facts.ts";
import { readShard, scanBuyers, scanOutbox } from "./redis-facts.ts";
import type { Reading } from "./reading.ts";
import { reportOf, type AuditReport } from "./report.ts";

/** What the auditor reads, all of it without writing. */
export interface AuditStores {
  /** one connection a shard, by shard number */
  readonly redis: readonly Redis[];
  readonly database: AuditDatabase;
  /** the log's positions, if it answers */
  readonly readLog: () => Promise<readonly LogPosition[]>;
  readonly place: ComparisonPlace;
  readonly clock: Clock;
  /** longest wait before a suspicion is read again; see SETTLE_MS */
  readonly settleMs?: number;
}

/** A store did not answer in any round. Not a difference: nothing is known. */
export class StoreAway extends Error {
  constructor(store: string, cause: unknown) {
    super(`${store} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "StoreAway";
  }
}

/** A suspicion counts when it was there in two readings one after the other, at different positions. */
const ROUNDS = 6;
/** Longest wait for positions to move past a suspicion, or for a recovery to end: recovery takes a lease and an open, 8 s. */
const SETTLE_MS = 5_000;
const POLL_MS = 50;

const fromStore = async <T>(store: string, read: () => Promise<T>): Promise<T> => {
  try {
    return await read();
  } catch (error) {
    throw error instanceof StoreAway ? error : new StoreAway(store, error);
  }
};

const readShards = (stores: AuditStores, saleIds: readonly string[]): Promise<ShardInRedis[]> =>
  Promise.all(stores.redis.map((redis, shard) => fromStore(`Redis of shard ${shard}`, () => readShard(redis, shard, saleIds))));

const cutoffOf = (reading: ShardInRedis): Cutoff => ({
  shard: reading.shard,
  epoch: reading.epoch,
  seq: reading.last.epoch === reading.epoch ? reading.last.seq : 0,
});

const feedShard = async (redis: Redis, reading: ShardInRedis, comparing: Comparing): Promise<void> => {
  for (const saleId of reading.sales.keys())
    for await (const page of scanBuyers(redis, reading.shard, saleId)) await comparing.fields(reading.shard, saleId, page);
  for await (const page of scanOutbox(redis, reading.shard, reading.last)) await comparing.entries(reading.shard, page);
};

const readFacts = (stores: AuditStores): Promise<PostgresFacts> =>
  fromStore("Postgres", () => stores.database.snapshot((snapshot) => snapshot.facts()));

/** Sales that Redis has to have; of others it tells by itself. */
const inRedis = ({ sales }: PostgresFacts): string[] => [...sales.values()].flatMap(({ id, isArchived }) => (isArchived ? [] : [id]));

/** One reading of all stores: each Redis at its cutoff, then the buyers and outboxes, then Postgres, then Redis again. */
const readRound = async (stores: AuditStores): Promise<Reading> => {
  const saleIds = inRedis(await readFacts(stores));
  const before = await readShards(stores, saleIds);
  const comparing = stores.place.begin(before.map(cutoffOf));
  try {
    await Promise.all(
      before.map((reading, shard) =>
        fromStore(`Redis of shard ${shard}`, () => feedShard(stores.redis[shard] as Redis, reading, comparing)),
      ),
    );
    const postgres = await fromStore("Postgres", () =>
      stores.database.snapshot(async (snapshot) => {
        const facts = await snapshot.facts();
        for await (const lines of snapshot.orders()) await comparing.orders(lines);
        return facts;
      }),
    );
    const after = await readShards(stores, inRedis(postgres));
    const compared = await comparing.finish({ shards: [...postgres.shards.values()], sales: [...postgres.sales.values()] });
    return { before, postgres, compared, after };
  } finally {
    comparing.drop();
  }
};

/** Waits (bounded) until Postgres is past every cutoff and no shard is between two epochs. */
const waitUntilPast = async (stores: AuditStores, before: readonly ShardInRedis[]): Promise<void> => {
  const until = stores.clock.monotonicMs() + (stores.settleMs ?? SETTLE_MS);
  while (stores.clock.monotonicMs() < until) {
    const { shards } = await readFacts(stores);
    const now = await readShards(stores, []);
    const isPast = before.every((reading, index) => {
      const row = shards.get(reading.shard);
      const cutoff = cutoffOf(reading);
      const current = now[index];
      if (row === undefined || current?.epoch !== row.epoch || isBehind(current, row)) return false;
      return row.epoch > cutoff.epoch || row.applied >= cutoff.seq;
    });
    if (isPast) return;
    await stores.clock.sleep(POLL_MS);
  }
};

const repeated = (found: readonly Difference[], earlier: readonly Difference[]): Difference[] => {
  const known = new Set(earlier.map(differenceKey));
  return found.filter((difference) => known.has(differenceKey(difference)));
};

/**
 * Computes P2 to P5 of DESIGN section 1 from the three stores, also in the middle of a sale. A round's reading is exact
 * unless a shard began an epoch meanwhile (see Comparison); whatever it finds is read again at a later position before
 * it counts.
 * @throws StoreAway if a store did not answer in the last round
 */
export const audit = async (stores: AuditStores): Promise<AuditReport> => {
  let suspects: readonly Difference[] = [];
  let latest: { reading: Reading; judgement: Judgement; differences: readonly Difference[] } | undefined;
  let away: StoreAway | undefined;
  for (let round = 1; round <= ROUNDS; round += 1) {
    try {
      const reading = await readRound(stores);
      const judgement = judge(reading);
      away = undefined;
      const confirmed = repeated(judgement.differences, suspects);
      latest = { reading, judgement, differences: confirmed };
      suspects = judgement.differences;
      // what is not settled deserves all the rounds: a recovery ends within seconds
      const isSettled = !judgement.differences.some((found) => found.kind === DifferenceKind.unsettled);
      if (isSettled && suspects.length === confirmed.length) break;
      if (round < ROUNDS) await waitUntilPast(stores, reading.before);
    } catch (error) {
      if (!(error instanceof StoreAway)) throw error;
      away = error;
      if (round < ROUNDS) await stores.clock.sleep((stores.settleMs ?? SETTLE_MS) / ROUNDS);
    }
  }
  if (away !== undefined || latest === undefined) throw away ?? new Error("no round was read");
  const log = await stores.readLog().catch(() => []);
  return reportOf(latest.reading, latest.judgement, latest.differences, log);
};
