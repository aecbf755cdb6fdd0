import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { appliedIds, purchaseIds, recordIds, sampler } from "./sample.ts";

const order = fc.record({ shard: fc.nat(63), epoch: fc.integer({ min: 1, max: 9_999 }), seq: fc.maxSafeNat(), index: fc.nat(511) });

describe("the sample of purchases", () => {
  it("is the same for the same order in whatever process, and a larger share has all of a smaller one", () => {
    fc.assert(
      fc.property(order, fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (one, a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        expect(sampler(less)(one)).toBe(sampler(less)({ ...one }));
        if (sampler(less)(one)) expect(sampler(more)(one)).toBe(true);
      }),
    );
  });

  it("has none of them at 0, all at 1, and about its share of any run of them", () => {
    fc.assert(fc.property(order, (one) => !sampler(0)(one) && sampler(1)(one)));
    const isSampled = sampler(0.1);
    const among = (of: (n: number) => Parameters<typeof isSampled>[0]): number =>
      Array.from({ length: 20_000 }, (_, n) => isSampled(of(n))).filter(Boolean).length;
    for (const count of [
      among((n) => ({ shard: 0, epoch: 1, seq: n, index: 0 })),
      among((n) => ({ shard: n % 8, epoch: 1, seq: Math.floor(n / 8), index: 0 })),
      among((n) => ({ shard: 3, epoch: 2, seq: Math.floor(n / 512), index: n % 512 })),
      among((n) => ({ shard: 0, epoch: n, seq: 1, index: 0 })),
    ]) {
      expect(count).toBeGreaterThan(1_800);
      expect(count).toBeLessThan(2_200);
    }
  });
});

describe("the ids of spans", () => {
  it("are W3C's, of one purchase or position each, and the worker's span is in the trace of its record", () => {
    const all = [purchaseIds("0-1-1-0"), purchaseIds("0-1-1-1"), recordIds(0, 1, 7), recordIds(1, 0, 7), recordIds(0, 1, 8)];
    for (const { traceId, spanId } of all) {
      expect(traceId).toMatch(/^[0-9a-f]{32}$/);
      expect(spanId).toMatch(/^[0-9a-f]{16}$/);
    }
    expect(new Set(all.map(({ traceId }) => traceId)).size).toBe(all.length);
    expect(appliedIds(0, 1, 7).traceId).toBe(recordIds(0, 1, 7).traceId);
    expect(appliedIds(0, 1, 7).spanId).not.toBe(recordIds(0, 1, 7).spanId);
  });
});
