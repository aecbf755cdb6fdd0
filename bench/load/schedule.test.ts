import { describe, expect, it } from "vitest";
import { schedule } from "./schedule.ts";

describe("the schedule of an open loop", () => {
  it("has exactly as many arrivals as the rate and the time say", () => {
    expect(schedule(0, 1_000, 250).total).toBe(250);
    expect(schedule(0, 500, 3).total).toBe(1);
    expect(schedule(0, 10_000, 15_000).total).toBe(150_000);
  });

  it("spaces them evenly from the beginning on", () => {
    const plan = schedule(5_000, 1_000, 4);
    expect([0, 1, 2, 3].map((index) => plan.intendedMs(index))).toEqual([5_000, 5_250, 5_500, 5_750]);
  });

  it("does not depend on what came before: after a pause all that was missed is due at once", () => {
    const plan = schedule(0, 1_000, 1_000);
    expect(plan.due(0)).toBe(1);
    expect(plan.due(9.5)).toBe(10);
    expect(plan.due(700)).toBe(701);
  });

  it("has every arrival due no earlier than it is meant to start", () => {
    const plan = schedule(17.3, 1_000, 7_331);
    for (let nowMs = 17; nowMs < 1_100; nowMs += 0.77) {
      const due = plan.due(nowMs);
      if (due > 0) expect(plan.intendedMs(due - 1)).toBeLessThanOrEqual(nowMs + 1e-6);
      if (due < plan.total) expect(plan.intendedMs(due)).toBeGreaterThan(nowMs - 1e-6);
    }
  });

  it("has nothing due before it begins, and nothing more after its end", () => {
    const plan = schedule(100, 1_000, 10);
    expect(plan.due(99)).toBe(0);
    expect(plan.due(50_000)).toBe(10);
  });
});
