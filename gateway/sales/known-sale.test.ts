import { describe, expect, it } from "vitest";
import type { SaleRecord } from "#protocol/sale";
import { SaleBook } from "./book.ts";
import { KnownSale, WINDOW_SLACK_MS } from "./known-sale.ts";
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

  it("is that an archived sale is closed", () => {
    const archived = new KnownSale({ ...record, state: "archived" });
    expect(archived.isArchived).toBe(true);
    expect(JSON.parse(archived.view(0).body.toString())).toMatchObject({ state: "closed", soldOut: false });
    expect(archived.view(0).etag).toBe(new KnownSale({ ...record, state: "closed" }).view(0).etag);
  });
});

describe("a gateway's book", () => {
  it("remembers a thousand archived sales, those that it heard of last, and every other sale", () => {
    const book = new SaleBook();
    book.put(record);
    for (let n = 0; n <= 1_000; n += 1) book.put(saleRecord({ id: `old-${n}`, state: "archived" }));
    expect([book.get("old-0"), book.get("old-1")?.isArchived, book.get("old-1000")?.isArchived]).toEqual([undefined, true, true]);
    expect(book.get("phone")?.record).toEqual(record);
    book.put({ ...record, version: record.version - 1, state: "archived" });
    expect(book.get("phone")?.isArchived).toBe(false);
  });
});

describe("the end of a sale", () => {
  const END_MS = 1_000_000;
  const ending = (): KnownSale => new KnownSale({ ...record, closesAtMs: END_MS });
  const at = (wallMs: number): { nowMs(): number } => ({ nowMs: () => wallMs });

  it("is past only when it is past for a clock that is ahead, too", () => {
    expect(ending().isOver(0, at(END_MS + WINDOW_SLACK_MS - 1))).toBe(false);
    expect(ending().isOver(0, at(END_MS + WINDOW_SLACK_MS))).toBe(true);
  });

  it("is when it was closed, whatever the window says, and is not believed any more when the clock was set back", () => {
    const sale = ending();
    expect(sale.isOver(0, at(END_MS * 2))).toBe(true);
    expect(sale.isOver(1_000, at(0))).toBe(false);
    sale.define({ ...sale.record, state: "closed" });
    expect(sale.isOver(1_000, at(0))).toBe(true);
  });

  it("does not take a look at the clock for each loser", () => {
    const sale = ending();
    let looks = 0;
    const clock = {
      nowMs: () => {
        looks += 1;
        return END_MS * 2;
      },
    };
    for (let nowMs = 0; nowMs < 100; nowMs++) expect(sale.isOver(nowMs, clock)).toBe(true);
    expect(looks).toBe(1);
  });
});
