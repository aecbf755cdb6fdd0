import { describe, expect, it } from "vitest";
import { SaleState, type SaleRecord } from "#protocol/sale";
import { KnownSale } from "./known-sale.ts";

const record: SaleRecord = {
  id: "phone",
  campaign: "spring",
  title: "A phone",
  totalUnits: 5,
  priceMinor: 100,
  currency: "CNY",
  opensAtMs: 0,
  closesAtMs: 9_000_000_000_000,
  limitPerBuyer: 1,
  payWithinMs: 0,
  state: SaleState.open,
  shards: [0, 1],
  version: 3,
};
/** What a later version may add: no business of the public's. */
const later = { ...record, costMinor: 42, supplier: "secret" } as SaleRecord;

describe("what the public sees of a sale", () => {
  it("is what is listed, whatever else its record has", () => {
    const sale = new KnownSale(later);
    const { shards: _shards, version: _version, ...shown } = record;
    expect(JSON.parse(sale.view(0).body.toString())).toEqual({ ...shown, soldOut: false });
    sale.define(later);
    sale.flag(1, 0);
    expect(JSON.parse(sale.view(0).body.toString())).toEqual({ ...shown, soldOut: true });
  });
});
