import * as fc from "fast-check";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../test/harness/index.ts";
import { LONG_MS, openEmptyShard, redisClient, type OpenedShard } from "../test/harness/open-shard.ts";
import { closeShard } from "./close.ts";
import { formatReservation, packPurchase, purchaseField, type Purchase } from "./fields.ts";
import { grant } from "./grant.ts";
import { keepShard } from "./keep.ts";
import { saleKeys } from "./keys.ts";
import { openShard } from "./open.ts";
import { readOutbox } from "./outbox.ts";
import { reserve } from "./reserve.ts";
import { defineSale } from "./sale.ts";
import { settle } from "./settle.ts";
import { shardState } from "./shard-state.ts";
import { withdraw } from "./withdraw.ts";

/** The scripts against a model of one sale on one shard, in lock step: every answer and, at each step, the whole state. */
const saleId = "sale-1";

type Step =
  | { readonly do: "reserve"; readonly purchases: readonly Purchase[]; readonly outboxLimit: number }
  | { readonly do: "grant"; readonly grantId: string; readonly units: number }
  | { readonly do: "withdraw"; readonly units: number; readonly receiver: number; readonly movesBehind: number }
  | { readonly do: "settle"; readonly behind: number; readonly epochBehind: number }
  | { readonly do: "state"; readonly state: "open" | "paused" | "closed" }
  | { readonly do: "epoch" };

interface Held {
  readonly epoch: number;
  readonly seq: number;
  readonly text: string;
}

class Model {
  readonly limit: number;
  epoch = 1;
  seq = 0;
  applied = 0;
  left = 0;
  moves = 0;
  version = 1;
  state: "open" | "paused" | "closed" = "open";
  readonly held = new Map<string, Held>();
  readonly totals = new Map<string, number>();
  readonly grants = new Set<string>();

  constructor(limit: number) {
    this.limit = limit;
  }

  reserve(purchases: readonly Purchase[], outboxLimit: number): string[] {
    const seq = this.seq + 1;
    const isBusy = this.seq - this.applied >= outboxLimit;
    let winners = 0;
    const decisions = purchases.map((purchase): string => {
      const { uid, key, units } = purchase;
      const field = purchaseField(this.limit, uid, key);
      const held = this.held.get(field);
      if (held !== undefined) {
        const isApplied = held.epoch < this.epoch || held.seq <= this.applied;
        return `${isApplied ? "c" : "r"} ${held.text}`;
      }
      if (units > this.limit || (this.limit === 1 && key !== "")) return "m";
      if ((this.totals.get(uid) ?? 0) + units > this.limit) return "l";
      if (this.state !== "open") return this.state === "paused" ? "p" : "e";
      if (isBusy) return "b";
      if (this.moves === 0) return "u";
      if (units > this.left) return "d";
      const text = formatReservation({ epoch: this.epoch, seq, index: winners++, units, rejected: false });
      this.held.set(field, { epoch: this.epoch, seq, text });
      this.totals.set(uid, (this.totals.get(uid) ?? 0) + units);
      this.left -= units;
      return `w ${text}`;
    });
    if (winners > 0) this.seq = seq;
    return decisions;
  }

  grant(grantId: string, units: number): string {
    if (this.grants.has(grantId)) return "duplicate";
    this.grants.add(grantId);
    this.left += units;
    this.moves++;
    this.seq++;
    return "ok";
  }

  withdraw(units: number, moves: number): { status: string; units?: number } {
    if (moves !== this.moves) return { status: "stale" };
    if (this.left === 0) return { status: "dry" };
    const taken = Math.min(units, this.left);
    this.left -= taken;
    this.moves++;
    this.seq++;
    return { status: "ok", units: taken };
  }

  settle(epoch: number, applied: number): string {
    if (epoch !== this.epoch) return "foreign";
    if (applied <= this.applied) return "stale";
    this.applied = applied;
    return "ok";
  }

  buyers(): Record<string, string> {
    const fields = [...this.held].map(([field, { text }]): [string, string] => [field, text]);
    const totals = this.limit === 1 ? [] : [...this.totals].map(([uid, units]): [string, string] => [uid, String(units)]);
    return Object.fromEntries([...fields, ...totals]);
  }
}

const purchase: fc.Arbitrary<Purchase> = fc.record({
  uid: fc.constantFrom("ann", "bob", "cy", "di"),
  key: fc.oneof({ weight: 2, arbitrary: fc.constant("") }, fc.constantFrom("a", "b")),
  units: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 4 })),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("reserve" as const),
      purchases: fc.array(purchase, { minLength: 1, maxLength: 12 }),
      outboxLimit: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("grant" as const),
      grantId: fc.constantFrom("g1", "g2", "g3", "g4"),
      units: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("withdraw" as const),
      units: fc.integer({ min: 1, max: 7 }),
      receiver: fc.integer({ min: 0, max: 9 }),
      movesBehind: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      behind: fc.integer({ min: 0, max: 3 }),
      epochBehind: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("state" as const), state: fc.constantFrom("open", "open", "paused", "closed") }) },
  { weight: 1, arbitrary: fc.constant({ do: "epoch" as const }) },
);

let server: RedisServer;
let redis: Redis;
let shards = 0;

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const window = { opensAtMs: 0, closesAtMs: Number.MAX_SAFE_INTEGER };

/** Everything applied, then the next epoch by `keep`. */
const nextEpoch = async ({ shard, token, replicationId }: OpenedShard, model: Model): Promise<void> => {
  const attempt = `attempt-${model.epoch + 1}`;
  await closeShard(redis, { shard, token, attempt });
  const upto = `${model.epoch}-${model.seq}`;
  const kept = await keepShard(redis, { shard, attempt, replicationId, fromEpoch: model.epoch, upto, toEpoch: model.epoch + 1 });
  expect(kept.status).toBe("ok");
  model.epoch++;
  model.seq = 0;
  model.applied = 0;
  const opened = await openShard(redis, { shard, token, attempt, replicationId, epoch: model.epoch, openMs: LONG_MS });
  expect(opened.status).toBe("ok");
};

const take = async (opened: OpenedShard, model: Model, step: Step): Promise<void> => {
  const { shard } = opened;
  const { epoch } = model;
  switch (step.do) {
    case "reserve": {
      const purchases = step.purchases.map(packPurchase);
      const answer = await reserve(redis, { shard, saleId, outboxLimit: step.outboxLimit, purchases });
      if (answer.status !== "ok") throw new Error(answer.status);
      const told = answer.decisions.map(({ decision, reservation }) =>
        reservation === undefined ? decision : `${decision} ${formatReservation(reservation)}`,
      );
      const before = model.seq;
      expect(told).toEqual(model.reserve(step.purchases, step.outboxLimit));
      expect(answer.position).toEqual(model.seq === before ? undefined : { epoch, seq: model.seq });
      expect(answer.left).toBe(model.left);
      break;
    }
    case "grant":
      expect((await grant(redis, { shard, epoch, saleId, ...step })).status).toBe(model.grant(step.grantId, step.units));
      break;
    case "withdraw": {
      const moves = Math.max(0, model.moves - step.movesBehind);
      const answer = await withdraw(redis, { shard, epoch, saleId, units: step.units, receiver: step.receiver, moves });
      const expected = model.withdraw(step.units, moves);
      expect(answer).toEqual(expected.status === "ok" ? { ...expected, position: { epoch, seq: model.seq } } : expected);
      if (expected.status !== "ok") break;
      const entries = await readOutbox(redis, { shard, after: { epoch, seq: model.seq - 1 }, count: 1 });
      expect(entries).toMatchObject([
        { epoch, entry: { kind: "w", seq: model.seq, saleId, receiver: step.receiver, units: expected.units } },
      ]);
      break;
    }
    case "settle": {
      const at = { epoch: epoch - step.epochBehind, applied: Math.max(0, model.seq - step.behind) };
      expect((await settle(redis, { shard, ...at })).status).toBe(model.settle(at.epoch, at.applied));
      break;
    }
    case "state":
      model.state = step.state;
      await defineSale(redis, { shard, epoch, saleId, version: ++model.version, limit: model.limit, state: step.state, ...window });
      break;
    case "epoch":
      await nextEpoch(opened, model);
      break;
  }
};

const compare = async (shard: number, model: Model): Promise<void> => {
  const keys = saleKeys(shard, saleId);
  const [left, moves] = await redis.hmget(keys.sale, "left", "moves");
  expect([left, moves]).toEqual([String(model.left), String(model.moves)]);
  expect(await redis.hgetall(keys.buyers)).toEqual(model.buyers());
  expect((await redis.smembers(keys.grants)).toSorted()).toEqual([...model.grants].toSorted());
  const seqs = (await readOutbox(redis, { shard, after: { epoch: 0, seq: 0 }, count: 1_000 })).map(({ entry }) => entry.seq);
  expect(seqs).toEqual(Array.from({ length: model.seq - model.applied }, (_, i) => model.applied + 1 + i));
  const { epoch, seq, applied } = model;
  expect(await shardState(redis, { shard })).toMatchObject({
    epoch,
    last: `${epoch}-${seq}`,
    applied: `${epoch}-${applied}`,
    isOpen: true,
  });
};

it("answers and keeps what the model does, for any schedule of reserve, grant, withdraw, settle, pause and new epochs", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step, { minLength: 1, maxLength: 25 }), async (limit, steps) => {
      const opened = await openEmptyShard(redis, ++shards);
      await defineSale(redis, { shard: opened.shard, epoch: 1, saleId, version: 1, state: "open", limit, ...window });
      const model = new Model(limit);
      for (const next of steps) {
        await take(opened, model, next);
        await compare(opened.shard, model);
      }
    }),
    { numRuns: 80 },
  );
}, 180_000);
