import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planMoves, type Move, type ShardView } from "./policy.ts";

const view = (shard: number, change: Partial<ShardView> = {}): ShardView => ({
  shard,
  isOpen: true,
  left: 0,
  sold: 0,
  perSecond: undefined,
  inbound: 0,
  wanted: 0,
  isDraining: false,
  isHeld: false,
  isMoving: false,
  ...change,
});
const ALL = new Set(Array.from({ length: 16 }, (_, shard) => shard));
const plan = (...views: ShardView[]): readonly Move[] => planMoves(views, ALL);
const unitsTo = (moves: readonly Move[], shard: number): number =>
  moves.filter(({ to }) => to === shard).reduce((sum, { units }) => sum + units, 0);

describe("units go where they are asked for", () => {
  it("nowhere while nobody asks", () => {
    expect(plan(view(0, { left: 0 }), view(1, { left: 100 }))).toEqual([]);
  });

  it("nearly all, if only this shard sells: it need not ask again soon", () => {
    const moves = plan(view(0, { wanted: 1, sold: 1_000 }), view(1, { left: 1_000 }), view(2, { left: 1_000 }), view(3, { left: 1_000 }));
    expect(unitsTo(moves, 0)).toBeGreaterThan(2_500);
    expect(moves.length).toBeLessThanOrEqual(3);
  });

  it("a fair share, if the others sell as fast", () => {
    const sold = 1_000;
    const moves = plan(
      view(0, { wanted: 1, sold }),
      view(1, { left: 400, sold }),
      view(2, { left: 300, sold }),
      view(3, { left: 100, sold }),
    );
    expect(unitsTo(moves, 0)).toBeGreaterThanOrEqual(190);
    expect(unitsTo(moves, 0)).toBeLessThanOrEqual(200);
    expect(moves.every(({ from }) => from !== 3)).toBe(true);
  });

  it("the last unit, from wherever it is", () => {
    expect(plan(view(0, { wanted: 1 }), view(1), view(2, { left: 1, sold: 500 }), view(3))).toEqual([
      { from: 2, to: 0, units: 1, reason: "dry" },
    ]);
  });

  it("gathered from several, if one buyer wants more than any shard has", () => {
    const moves = plan(view(0, { wanted: 3, left: 1 }), view(1, { left: 1 }), view(2, { left: 1 }));
    expect(unitsTo(moves, 0)).toBe(2);
  });

  it("not at all, if all together are fewer than one wants", () => {
    expect(plan(view(0, { wanted: 4, left: 1 }), view(1, { left: 1 }), view(2, { left: 1 }))).toEqual([]);
  });

  it("not twice, while enough is on its way", () => {
    expect(plan(view(0, { wanted: 1, inbound: 1 }), view(1, { left: 10 }))).toEqual([]);
  });

  it("not from where they came a moment ago, nor from where they are just moving", () => {
    expect(plan(view(0, { wanted: 1 }), view(1, { left: 1, isHeld: true }), view(2, { left: 1, isMoving: true }))).toEqual([]);
  });

  it("not from where they will be sold before they could arrive", () => {
    expect(plan(view(0, { wanted: 1 }), view(1, { left: 10, perSecond: 1_000 }))).toEqual([]);
    expect(plan(view(0, { wanted: 1 }), view(1, { left: 10, perSecond: 1 }))).toHaveLength(1);
  });

  it("neither to nor from a shard that is not open", () => {
    expect(plan(view(0, { wanted: 1, isOpen: false }), view(1, { left: 10 }))).toEqual([]);
    expect(plan(view(0, { wanted: 1 }), view(1, { left: 10, isOpen: false }))).toEqual([]);
  });

  it("only to the shards that this coordinator looks after", () => {
    expect(planMoves([view(0, { wanted: 1 }), view(1, { left: 10 })], new Set([1]))).toEqual([]);
  });
});

describe("a draining shard", () => {
  it("gives all it has, in parts, to the others", () => {
    const moves = plan(view(0, { left: 1_000, isDraining: true }), view(1), view(2), view(3));
    expect(moves).toMatchObject([{ from: 0, reason: "drain" }]);
    expect(moves[0]?.units).toBeGreaterThan(300);
    expect(plan(view(0, { left: 7, isDraining: true }), view(1), view(2))).toMatchObject([{ from: 0, units: 7 }]);
  });

  it("gets nothing, also if somebody asks there or it is the only one left", () => {
    expect(plan(view(0, { wanted: 1, isDraining: true }), view(1, { left: 10 }))).toEqual([]);
    expect(plan(view(0, { left: 5, isDraining: true }), view(1, { isDraining: true }))).toEqual([]);
  });

  it("is the first to be taken from, also of what came a moment ago", () => {
    expect(plan(view(0, { wanted: 1 }), view(1, { left: 5, isDraining: true, isHeld: true }), view(2))).toMatchObject([{ from: 1, to: 0 }]);
  });
});

describe("any plan", () => {
  const shard = fc.record({
    isOpen: fc.boolean(),
    left: fc.integer({ min: 0, max: 50 }),
    sold: fc.integer({ min: 0, max: 1_000 }),
    perSecond: fc.option(fc.integer({ min: 0, max: 1_000 }), { nil: undefined }),
    inbound: fc.integer({ min: 0, max: 5 }),
    wanted: fc.integer({ min: 0, max: 5 }),
    isDraining: fc.boolean(),
    isHeld: fc.boolean(),
    isMoving: fc.boolean(),
  });
  const views = fc.array(shard, { minLength: 1, maxLength: 8 }).map((shards) => shards.map((each, index) => ({ ...each, shard: index })));

  it("takes no more than is there, once from a shard, and gives only to those that can take it", () => {
    fc.assert(
      fc.property(views, (shards) => {
        const moves = planMoves(shards, ALL);
        expect(new Set(moves.map(({ from }) => from)).size).toBe(moves.length);
        for (const { from, to, units } of moves) {
          const [donor, receiver] = [shards[from] as ShardView, shards[to] as ShardView];
          expect(units).toBeGreaterThan(0);
          expect(units).toBeLessThanOrEqual(donor.left);
          expect(Number.isInteger(units)).toBe(true);
          expect(from).not.toBe(to);
          expect([donor.isOpen, donor.isMoving, receiver.isOpen, receiver.isDraining]).toEqual([true, false, true, false]);
        }
      }),
    );
  });

  it("strands nothing: with one shard that asks, and enough that may move, the buyer is served", () => {
    fc.assert(
      fc.property(views, (shards) => {
        const [first, ...others] = shards.map((each) => ({
          ...each,
          wanted: 0,
          isOpen: true,
          isHeld: false,
          isMoving: false,
          perSecond: undefined,
        }));
        const asking = { ...(first as ShardView), isDraining: false, wanted: 3, inbound: 0 };
        const all = others.reduce((sum, { left }) => sum + left, asking.left);
        fc.pre(all >= 3 && asking.left < 3);
        expect(asking.left + unitsTo(planMoves([asking, ...others], ALL), 0)).toBeGreaterThanOrEqual(3);
      }),
    );
  });
});
