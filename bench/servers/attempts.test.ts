import { describe, expect, it } from "vitest";
import type { AttemptNews } from "#protocol";
import { reopeningOf, type HeardNews } from "./attempts.ts";

const told = (atMs: number, shard: number, phase: AttemptNews["phase"], change: Partial<AttemptNews> = {}): HeardNews => ({
  news: { shard, holder: "here", phase, orders: 0, ofUnits: 0, result: null, ...change },
  atMs,
});

describe("what it took to open shards again", () => {
  it("tells the fixed wait from the rebuild, which begins with the first shard and ends with the last", () => {
    const heard = [
      told(100, 0, "ask"),
      told(110, 3, "ask"),
      told(120, 0, "wait"),
      told(150, 3, "wait"),
      told(5_120, 0, "restore"),
      told(5_151, 3, "restore"),
      told(5_200, 0, "restore", { orders: 2_000, ofUnits: 2_500 }),
      told(5_300, 0, "open", { orders: 2_500, ofUnits: 2_500 }),
      told(5_310, 0, "open", { orders: 2_500, ofUnits: 2_500, result: "opened" }),
      told(5_400, 3, "restore", { orders: 700, ofUnits: 700 }),
      told(5_450, 3, "open", { orders: 700, ofUnits: 700 }),
    ];
    expect(reopeningOf(heard, [0, 3])).toBeUndefined();
    heard.push(told(5_460, 3, "open", { orders: 700, ofUnits: 700, result: "opened" }));
    expect(reopeningOf(heard, [0, 3])).toEqual({ openAtMs: 5_460, waitMs: 5_001, rebuildMs: 330, orders: 3_200 });
    expect(reopeningOf(heard, [0])).toEqual({ openAtMs: 5_310, waitMs: 5_000, rebuildMs: 180, orders: 2_500 });
    expect(reopeningOf(heard, [0, 1])).toBeUndefined();
  });

  it("counts what attempts that failed took, with the pause between two rebuilds", () => {
    const heard = [
      told(-9_000, 0, "wait"),
      told(-8_800, 0, "wait", { result: "fault" }),
      told(-1, 0, "ask"),
      told(0, 0, "wait"),
      told(1_000, 0, "restore"),
      told(1_100, 0, "restore", { orders: 10, ofUnits: 20, result: "fault" }),
      told(3_000, 0, "ask"),
      told(3_010, 0, "restore"),
      told(3_020, 0, "open", { orders: 20, ofUnits: 20 }),
    ];
    expect(reopeningOf(heard, [0])).toBeUndefined();
    heard.push(told(3_030, 0, "open", { orders: 20, ofUnits: 20, result: "opened" }));
    expect(reopeningOf(heard, [0])).toEqual({ openAtMs: 3_030, waitMs: 1_200, rebuildMs: 2_020, orders: 20 });
  });

  it("has no rebuild where Redis's state stood", () => {
    const heard = [told(0, 0, "keep"), told(5, 0, "open"), told(9, 0, "open", { result: "opened" })];
    expect(reopeningOf(heard, [0])).toEqual({ openAtMs: 9, waitMs: 0, rebuildMs: 0, orders: 0 });
  });
});
