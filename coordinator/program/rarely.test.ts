import { beforeEach, describe, expect, it } from "vitest";
import { rarely, type IsNews } from "./rarely.ts";

let nowMs: number;
let isNews: IsNews;
beforeEach(() => {
  nowMs = 5;
  isNews = rarely({ monotonicMs: () => nowMs });
});

describe("a fault", () => {
  it("is logged once, left out for 10 s, and then logged with how many were left out", () => {
    expect(isNews("redis", "away")).toEqual({ leftOut: 0 });
    nowMs += 10_000;
    expect(isNews("redis", "away")).toBeUndefined();
    expect(isNews("redis", "away")).toBeUndefined();
    nowMs += 1;
    expect(isNews("redis", "away")).toEqual({ leftOut: 2 });
    expect(isNews("redis", "away")).toBeUndefined();
  });

  it("of another place, or another fault of this one, is logged at once", () => {
    expect(isNews("redis", "away")).toEqual({ leftOut: 0 });
    expect(isNews("broker", "away")).toEqual({ leftOut: 0 });
    expect(isNews("redis", "away")).toBeUndefined();
    expect(isNews("redis", "full")).toEqual({ leftOut: 1 });
  });

  it("that says something else each time fills no log, nor do two that take turns", () => {
    const turns = (place: string, text: (n: number) => string): number =>
      Array.from({ length: 1_000 }, (_, n) => isNews(place, text(n))).filter((news) => news !== undefined).length;
    expect(turns("a", (n) => `at ${n}`)).toBe(8);
    expect(turns("b", (n) => `at ${n % 2}`)).toBe(8);
    nowMs += 10_001;
    expect(isNews("a", "at 0")).toEqual({ leftOut: 992 });
  });

  it("of the place that was longest quiet is forgotten when there are too many places", () => {
    for (let place = 0; place < 1_001; place += 1) isNews(String(place), "away");
    expect(isNews("1000", "away")).toBeUndefined();
    expect(isNews("1", "away")).toBeUndefined();
    expect(isNews("0", "away")).toEqual({ leftOut: 0 });
  });
});
