import { describe, expect, it } from "vitest";
import { compared, cpuRatio, interleaved, type Trial } from "./trials.ts";

const trial = (count: number, seconds: number, cpuSeconds: Trial["cpuSeconds"] = {}): Trial => ({ count, seconds, cpuSeconds });

describe("comparing runs", () => {
  it("judges by the ratios of pairs, not by the ratio of the medians", () => {
    // A disturbance that halved both sides of the second pair must not show.
    const outcome = compared([trial(80, 1), trial(45, 1), trial(88, 1)], [trial(100, 1), trial(50, 1), trial(100, 1)]);
    expect(outcome.ratio).toBeCloseTo(0.88);
    expect(outcome.spread).toBeCloseTo(0.1 / 0.88);
    expect(outcome.perSecond).toBe(80);
    expect(outcome.referencePerSecond).toBe(100);
  });

  it("divides by the time of each run", () => {
    expect(compared([trial(100, 2)], [trial(100, 4)]).ratio).toBe(2);
  });

  it("charges nobody for the generator", () => {
    const outcome = compared([trial(1_000, 2, { gateway: 1, redis: 0.5, generator: 1.8 })], []);
    expect(outcome.cpuMicros).toBeCloseTo(1_500);
    expect(outcome.generatorBusy).toBeCloseTo(0.9);
    expect(outcome.cpuSeconds).toEqual({ gateway: 1, redis: 0.5, generator: 1.8 });
  });

  it("compares CPU pair by pair", () => {
    // both sides of the second pair were disturbed
    const ours = [trial(10, 1, { a: 11 }), trial(10, 1, { a: 24 }), trial(10, 1, { a: 10, generator: 9 })];
    const { runs } = compared(ours, [trial(10, 1, { a: 10 }), trial(10, 1, { a: 20 }), trial(10, 1, { a: 10 })]);
    expect(cpuRatio(runs)).toBeCloseTo(1.1);
    expect(cpuRatio(compared(ours, []).runs)).toBeNull();
    expect(cpuRatio([])).toBeNull();
  });

  it("adds CPU seconds over the runs", () => {
    expect(compared([trial(1, 1, { a: 1 }), trial(1, 1, { a: 2, b: 3 })], []).cpuSeconds).toEqual({ a: 3, b: 3 });
  });

  it("spreads the rates where there is no reference", () => {
    const outcome = compared([trial(90, 1), trial(100, 1), trial(110, 1)], []);
    expect(outcome.ratio).toBeNull();
    expect(outcome.spread).toBeCloseTo(0.2);
  });

  it("runs both sides in turn and changes who begins", async () => {
    const order: string[] = [];
    const side = (name: string) => (run: number) => {
      order.push(`${name}${run}`);
      return Promise.resolve(trial(1, 1));
    };
    await interleaved({ runs: 3, ours: side("ours"), reference: side("reference") });
    expect(order).toEqual(["ours0", "reference0", "reference1", "ours1", "ours2", "reference2"]);
  });
});
