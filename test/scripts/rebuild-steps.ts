import * as fc from "fast-check";
import { formatReservation, stagedKeys, swapShard } from "#lua";
import * as model from "../simulation/redis/index.ts";
import type { Lockstep } from "./lockstep.ts";
import { ask, attemptOf, command, replicationOf, saleId, SHARD, START_MS, type ShardModel } from "./shard-model.ts";
import { STAGED_MS } from "./shard-space.ts";
import { mostly } from "./step.ts";

const reservation = fc.record({
  epoch: fc.integer({ min: 1, max: 3 }),
  seq: fc.integer({ min: 1, max: 6 }),
  index: fc.integer({ min: 0, max: 2 }),
  units: fc.integer({ min: 1, max: 2 }),
  rejected: fc.boolean(),
});

export interface Staged {
  readonly saleId: string;
  readonly left: number;
  readonly limit: number;
  readonly buyers: readonly (readonly [
    uid: string,
    held: { epoch: number; seq: number; index: number; units: number; rejected: boolean },
  ])[];
  readonly grants: readonly string[];
  readonly isLacking: boolean;
}

export const staged: fc.Arbitrary<Staged> = fc.record({
  saleId,
  left: fc.integer({ min: 0, max: 5 }),
  limit: fc.constantFrom(1, 1, 3),
  buyers: fc.uniqueArray(fc.tuple(fc.constantFrom("ann", "bob", "cid", "dan"), reservation), { selector: ([uid]) => uid, maxLength: 4 }),
  grants: fc.uniqueArray(fc.constantFrom("g1", "g2", "g3"), { maxLength: 3 }),
  isLacking: mostly(false, true),
});

/** Writes what a worker writes before `swap` (workers/restore/redis.ts). */
export const stage = (state: ShardModel, step: Lockstep, drawn: Staged): void => {
  if (step.isFull || !state.server.isPrimary) return;
  const { saleId, left, limit, grants, isLacking } = drawn;
  const attempt = attemptOf(state, true);
  if (state.shard.data.staged.has(`${attempt}:${saleId}`)) return;
  const keys = stagedKeys(SHARD, attempt, saleId);
  const fields = drawn.buyers.flatMap(([uid, held]): [string, string][] => {
    const text = formatReservation(held);
    return limit === 1
      ? [[uid, text]]
      : [
          [`${uid}:`, text],
          [uid, String(held.units)],
        ];
  });
  if (fields.length > 0) step.tell("hset", keys.buyers, ...fields.flat());
  if (grants.length > 0) step.tell("sadd", keys.grants, ...grants);
  model.stageBuyers(state.shard, attempt, saleId, fields);
  model.stageGrants(state.shard, attempt, saleId, grants);
  if (!isLacking) {
    const sale = { saleId, version: 4, state: "open", left, limit, opensAtMs: START_MS - 10, closesAtMs: START_MS + 1_000_000 } as const;
    const hash = {
      version: 4,
      state: "open",
      left,
      limit,
      opens_at: sale.opensAtMs,
      closes_at: sale.closesAtMs,
      moves: 1,
      moved_at: "1-0",
    };
    step.tell("hset", keys.sale, ...Object.entries(hash).flat());
    model.stageSale(
      state.shard,
      attempt,
      { ...sale, buyers: [], grants: [] } as unknown as Parameters<typeof model.stageSale>[2],
      1,
      "1-0",
    );
  }
  for (const key of [keys.sale, keys.buyers, keys.grants]) step.tell("pexpire", key, STAGED_MS);
};
export const stageStep = command("stage", staged, stage);

export interface Swap {
  readonly isMine: boolean;
  readonly isHere: boolean;
  readonly to: number;
  /** added to the counts */
  readonly off: number;
  /** sales named neither staged nor dropped */
  readonly forgets: boolean;
}

export const swap = (state: ShardModel, step: Lockstep, { isMine, isHere, to, off, forgets }: Swap): void => {
  const { data } = state.shard;
  const attempt = attemptOf(state, isMine);
  const prefix = `${attemptOf(state, true)}:`;
  const sales = [...data.staged]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, { buyers, totals, grants }], i) => ({
      saleId: name.slice(prefix.length),
      buyers: buyers.size + totals.size + (i === 0 && off > 0 ? off : 0),
      grants: grants.size + (i === 0 && off < 0 ? -off : 0),
    }));
  const dropped = forgets ? [] : [...data.sales.keys()].filter((id) => !sales.some(({ saleId }) => saleId === id));
  const request = { attempt, replicationId: replicationOf(state, isHere), toEpoch: Math.max(1, data.epoch + to), sales, dropped };
  ask(state, step, "swap", request, swapShard, model.swapShard);
};
export const swapStep = command(
  "swap",
  fc.record({
    isMine: mostly(true, false),
    isHere: mostly(true, false),
    to: mostly(1, 0, -1, 3),
    off: mostly(0, 1, -1),
    forgets: mostly(false, true),
  }),
  swap,
);
