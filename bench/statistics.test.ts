import { describe, expect, it } from "vitest";
import { median, spread } from "./statistics.ts";

describe("median and spread", () => {
  it("takes the middle of an odd number of values, whatever their order", () => {
    expect(median([9, 1, 5])).toBe(5);
  });

  it("takes the mean of the two middle values of an even number", () => {
    expect(median([10, 2, 4, 8])).toBe(6);
  });

  it("sorts by size and not by spelling", () => {
    expect(median([100, 20, 3])).toBe(20);
  });

  it("leaves the values where they were", () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  it("refuses to say the median of nothing", () => {
    expect(() => median([])).toThrow(RangeError);
  });

  it("gives the spread as a part of the median", () => {
    expect(spread([8, 10, 12])).toBeCloseTo(0.4);
    expect(spread([7])).toBe(0);
  });
});
