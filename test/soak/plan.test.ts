import { describe, expect, it } from "vitest";
import { Draw } from "../harness/draw.ts";
import { FaultKind, planRound, type PlanOptions, type Round } from "./plan.ts";

const options: PlanOptions = {
  parts: ["redis-0", "nats", "postgres", "gateway"],
  pairs: ["gateway:redis-0", "workers:postgres"],
  shards: 1,
  roundMs: 30_000,
  buyersPerSecond: 50,
};

const rounds = (seed: number, count: number): readonly Round[] => {
  const draw = new Draw(seed);
  return Array.from({ length: count }, (_, n) => planRound(draw, options, n));
};

describe("the plan of a soak", () => {
  it("is the same for the same seed, and another for another", () => {
    expect(rounds(7, 5)).toEqual(rounds(7, 5));
    expect(rounds(7, 5)).not.toEqual(rounds(8, 5));
  });

  it("comes to every kind of fault, on every target, within the round", () => {
    const faults = rounds(1, 100).flatMap((round) => round.faults);
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(Object.values(FaultKind)));
    expect(new Set(faults.map(({ target }) => target))).toEqual(new Set([...options.parts, ...options.pairs, "workers"]));
    expect(faults.every(({ atMs }) => atMs > 0 && atMs < options.roundMs)).toBe(true);
  });

  it("has sales that sell out and sales that do not, limits above one, added units, and a wiped Redis", () => {
    const many = rounds(2, 100);
    const sales = many.flatMap((round) => round.sales);
    const isScarce = sales.map(({ units, added, buyers }) => units + added < buyers);
    expect(new Set(isScarce)).toEqual(new Set([true, false]));
    expect(new Set(sales.map(({ limit }) => limit))).toEqual(new Set([1, 2]));
    expect(sales.some(({ added }) => added > 0)).toBe(true);
    expect(new Set(many.map(({ wipedShard }) => wipedShard))).toEqual(new Set([-1, 0]));
  });
});
