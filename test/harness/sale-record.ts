import type { SaleRecord } from "#protocol/sale";

/** A sale's record as workers publish it: open, one unit a buyer, on shard 0, unless the test says otherwise. */
export const saleRecord = (overrides: Partial<SaleRecord> & Pick<SaleRecord, "id">): SaleRecord => ({
  campaign: "test",
  title: "A thing",
  totalUnits: 10,
  priceMinor: 100,
  currency: "CNY",
  opensAtMs: 0,
  closesAtMs: 9_000_000_000_000,
  limitPerBuyer: 1,
  payWithinMs: 0,
  state: "open",
  shards: [0],
  version: 1,
  ...overrides,
});
