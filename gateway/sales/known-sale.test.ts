import { describe, expect, it } from "vitest";
import type { SaleRecord } from "#protocol/sale";
import { KnownSale } from "./known-sale.ts";
import { saleRecord } from "../../test/harness/sale-record.ts";

const record = saleRecord({ id: "phone", campaign: "spring", shards: [0, 1], version: 3 });
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
