import { describe, expect, it } from "vitest";
import { shardOf } from "./shard-map.ts";

const names = Array.from({ length: 20_000 }, (_, i) => `flash-sale-1-${i}`);

describe("shardOf", () => {
  it.each([1, 2, 3, 4, 7, 16])("spreads names evenly over %i shards", (count) => {
    const sizes = Array.from({ length: count }, () => 0);
    for (const name of names) sizes[shardOf(name, count)]! += 1;
    for (const size of sizes) expect(Math.abs(size - names.length / count)).toBeLessThan((names.length / count) * 0.15);
  });

  it("moves a name only to the shard that was added, and about 1/n of them", () => {
    let moved = 0;
    for (const name of names) {
      const [before, after] = [shardOf(name, 4), shardOf(name, 5)];
      if (before === after) continue;
      expect(after).toBe(4);
      moved += 1;
    }
    expect(moved / names.length).toBeGreaterThan(0.17);
    expect(moved / names.length).toBeLessThan(0.23);
  });
});
