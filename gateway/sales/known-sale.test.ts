import { describe, expect, it } from "vitest";
import { SaleState, type SaleRecord } from "#protocol/sale";
import { KnownSale } from "./known-sale.ts";

const over = (id: string, shards: readonly number[]): KnownSale => {
  const record: SaleRecord = {
    id,
    campaign: "",
    title: id,
    totalUnits: 1,
    priceMinor: 0,
    currency: "CNY",
    opensAtMs: 0,
    closesAtMs: Number.MAX_SAFE_INTEGER,
    limitPerBuyer: 1,
    payWithinMs: 0,
    state: SaleState.open,
    shards: [...shards],
    version: 1,
  };
  return new KnownSale(record);
};

describe("a buyer's home shard", () => {
  // While gateways are replaced during a sale, old and new ones have to agree (P3), so these places may not change.
  it.each([
    ["phone", [0, 1, 2, 3, 4, 5, 6, 7], [0, 7, 7, 7, 7, 7, 0, 2, 2, 4, 0, 4]],
    ["tv", [2, 5, 9], [5, 5, 5, 2, 5, 9, 9, 2, 5, 5, 5, 9]],
    ["tv", [4], [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]],
  ])("of the sale %s over %j is the same in every version", (id, shards, homes) => {
    const uids = ["alice", "bob", "carol", "u1", "u2", "u3", "u10", "u11", "0", "Z_-9", "b4242", "a-rather-long-buyer-name-0001"];
    const sale = over(id, shards);
    expect(uids.map((uid) => sale.shardOf(uid))).toEqual(homes);
  });

  it.each([2, 3, 5, 8, 16])("is any of %d shards about equally often", (count) => {
    const buyers = 8_000;
    const sale = over(
      "phone",
      Array.from({ length: count }, (_, shard) => shard),
    );
    const counts = Array.from({ length: count }, () => 0);
    for (let n = 0; n < buyers; n += 1) counts[sale.shardOf(`u${n}`)]! += 1;
    for (const of of counts) expect(Math.abs((of * count) / buyers - 1)).toBeLessThan(0.15);
  });
});
