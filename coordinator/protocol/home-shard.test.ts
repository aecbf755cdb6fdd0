import { describe, expect, it } from "vitest";
import { homeShard } from "./home-shard.ts";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, shard) => shard);
/** The residues by these primes tell any two hashes of 32 bits apart (Chinese remainder theorem: their product is above 2^32). */
const PRIMES = [2_039, 2_053, 2_063];

describe("a buyer's home shard", () => {
  // While gateways are replaced during a sale, old and new ones have to agree (P3), so these places may not change.
  it.each([
    ["phone", [0, 1, 2, 3, 4, 5, 6, 7], [0, 7, 7, 7, 7, 7, 0, 2, 2, 4, 0, 4]],
    ["tv", [2, 5, 9], [5, 5, 5, 2, 5, 9, 9, 2, 5, 5, 5, 9]],
    ["tv", [4], [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]],
  ])("of the sale %s over %j is the same in every version", (id, shards, homes) => {
    const uids = ["alice", "bob", "carol", "u1", "u2", "u3", "u10", "u11", "0", "Z_-9", "b4242", "a-rather-long-buyer-name-0001"];
    expect(uids.map((uid) => homeShard(id, uid, shards))).toEqual(homes);
  });

  // The vectors for whoever writes the function again in another language; made by gateways of version 0.1.
  it.each([
    ["phone", "alice", 3_382_071_080],
    ["phone", "bob", 41_640_823],
    ["phone", "carol", 3_894_366_455],
    ["phone", "u1", 901_061_943],
    ["phone", "u10", 1_604_494_152],
    ["tv", "alice", 3_333_220_318],
    ["tv", "Z_-9", 963_250_168],
    ["a", "b", 620_619_155],
    ["s", "0", 3_904_977_153],
    ["phone-2026-11-28", "a-rather-long-buyer-name-0001", 1_980_274_740],
    ["x".repeat(64), "y".repeat(64), 2_925_187_890],
  ])("of %s/%s comes from the hash %d", (saleId, uid, hash) => {
    for (const count of PRIMES) expect(homeShard(saleId, uid, upTo(count))).toBe(hash % count);
  });

  it("is the same in every version for 100,000 others", () => {
    let digest = 0;
    for (let n = 0; n < 100_000; n += 1) digest = (Math.imul(digest, 31) + homeShard(`sale-${n % 97}`, `buyer-${n}`, upTo(7))) | 0;
    expect(digest >>> 0).toBe(3_085_788_363);
  });

  it.each([2, 3, 5, 8, 16])("is any of %d shards about equally often", (count) => {
    const buyers = 8_000;
    const shards = upTo(count);
    const counts = shards.map(() => 0);
    for (let n = 0; n < buyers; n += 1) counts[homeShard("phone", `u${n}`, shards)]! += 1;
    for (const of of counts) expect(Math.abs((of * count) / buyers - 1)).toBeLessThan(0.15);
  });
});
