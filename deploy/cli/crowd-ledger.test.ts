import { describe, expect, it } from "vitest";
import { Ledger, Next, readAnswer } from "./crowd-ledger.ts";
import { lineUp } from "./crowd-lineup.ts";
import { ComeBack } from "./crowd-queue.ts";

const told = (code: string, orderId?: string) => ({ status: 0, code, orderId });

describe("Ledger", () => {
  it("counts a winner once, and the same order id again as a repeat", () => {
    const ledger = new Ledger(2);
    expect(ledger.record(0, told("reserved", "0-1-1-0"))).toBe(Next.done);
    expect(ledger.record(0, told("confirmed", "0-1-1-0"))).toBe(Next.done);
    expect(ledger.counts).toMatchObject({ requests: 2, reserved: 1, repeats: 1, errors: 0 });
    expect(ledger.orderIds[0]).toBe("0-1-1-0");
    expect(ledger.answered).toBe(1);
  });

  it("notices every pair of answers that cannot both be true", () => {
    const ledger = new Ledger(3);
    ledger.record(0, told("reserved", "0-1-1-0"));
    ledger.record(0, told("reserved", "0-1-2-0"));
    ledger.record(1, told("reserved", "0-1-1-1"));
    ledger.record(1, told("sold_out"));
    ledger.record(2, told("sold_out"));
    ledger.record(2, told("reserved", "0-1-1-2"));
    ledger.record(2, told("reserved"));
    expect(ledger.contradictions).toHaveLength(4);
    expect(ledger.counts.errors).toBe(4);
  });

  it("excuses what was only reserved when its Redis lost its data, and nothing else", () => {
    let emptiedAtMs: number | undefined;
    const ledger = new Ledger(4, (orderId) => (orderId.startsWith("1-") ? emptiedAtMs : undefined));
    ledger.record(0, told("reserved", "1-1-1-0"));
    ledger.record(1, told("confirmed", "1-1-1-1"));
    ledger.record(2, told("reserved", "0-1-1-0"));
    ledger.record(3, told("reserved", "1-1-1-3"));
    expect(ledger.wentDown(0)).toBe(false);
    emptiedAtMs = performance.now() + 1;
    ledger.record(0, told("reserved", "1-2-1-0"));
    ledger.record(3, told("sold_out"));
    expect(ledger.contradictions).toEqual([]);
    expect(ledger.orderIds).toEqual(["1-2-1-0", "1-1-1-1", "0-1-1-0", undefined]);
    expect(ledger.counts).toMatchObject({ reserved: 3, lostWithRedis: 2 });
    emptiedAtMs = 0;
    ledger.record(0, told("sold_out"));
    ledger.record(1, told("sold_out"));
    ledger.record(2, told("sold_out"));
    expect(ledger.contradictions).toHaveLength(3);
  });

  it("sends back whoever has no definite answer", () => {
    const ledger = new Ledger(1);
    for (const code of ["rate_limited", "recovering", "busy", "try_again", "paused", "units_moving"])
      expect(ledger.record(0, told(code))).toBe(Next.again);
    expect(ledger.failed()).toBe(Next.again);
    expect(ledger.record(0, readAnswer(502, "<html>"))).toBe(Next.again);
    expect(ledger.record(0, readAnswer(500, "[]"))).toBe(Next.again);
    expect(ledger.answered).toBe(0);
    expect(ledger.counts).toMatchObject({ requests: 9, rateLimited: 1, comeAgain: 5, errors: 3 });
  });
});

describe("lineUp", () => {
  it("lets each buyer send one to three times", () => {
    const times = new Map<number, number>();
    for (const buyer of lineUp(100, 10_000)) times.set(buyer, (times.get(buyer) ?? 0) + 1);
    expect(times.size).toBe(10_000);
    expect(Math.min(...times.keys())).toBe(100);
    expect(new Set(times.values())).toEqual(new Set([1, 2, 3]));
  });
});

describe("ComeBack", () => {
  it("gives what is due, the earliest first", () => {
    const queue = new ComeBack<string>();
    queue.add("late", 30);
    queue.add("early", 10);
    queue.add("middle", 20);
    expect(queue.take(5)).toBeUndefined();
    expect([queue.take(25), queue.take(25), queue.take(25)]).toEqual(["early", "middle", undefined]);
    expect(queue.size).toBe(1);
    expect(queue.take(30)).toBe("late");
  });
});
