import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBytes, addressKey } from "./address.ts";
import { Admission, type Ceiling, type Limits } from "./admission.ts";
import { Buckets } from "./buckets.ts";
import { hashInto, type Hash } from "./hash.ts";
import { pace } from "./pace.ts";

const hashOf = (text: string): Hash => {
  const hash = { hi: 0, lo: 0 };
  hashInto(hash, 1, 2, text);
  return hash;
};

const random = { nonce: () => "n", fraction: () => 0.5 };
const free = { rate: 0, burst: 1 };
const limits = (part: Partial<Limits>): Limits => ({ buyer: free, address: free, sale: free, slots: 1 << 10, ...part });

/** The textbook bucket, refilled step by step. */
class Model {
  tokens: number;
  atMs = 0;
  readonly rate: number;
  readonly burst: number;
  constructor(rate: number, burst: number) {
    this.rate = rate;
    this.burst = burst;
    this.tokens = burst;
  }
  ask(nowMs: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.atMs) * this.rate) / 1_000);
    this.atMs = nowMs;
    if (this.tokens < 1 - 1e-6) return false;
    this.tokens -= 1;
    return true;
  }
}

const asks = (buckets: Buckets, key: Hash, nowMs: number): boolean => {
  if (buckets.peek(key, nowMs) > 0) return false;
  buckets.take(key, nowMs);
  return true;
};

describe("token buckets", () => {
  it("decide like a textbook bucket, whatever the pace, the gaps and the keys", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 700 })), { maxLength: 200 }),
        (rate, burst, steps) => {
          const buckets = new Buckets(pace(rate, burst), 64);
          const models = Array.from({ length: 4 }, () => new Model(rate, burst));
          let nowMs = 0;
          for (const [key, gapMs] of steps) {
            nowMs += gapMs;
            expect(asks(buckets, hashOf(`k${key}`), nowMs)).toBe((models[key] as Model).ask(nowMs));
          }
        },
      ),
    );
  });

  it("say exactly how long to wait", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 20 }), (rate, burst) => {
        const buckets = new Buckets(pace(rate, burst), 8);
        const key = hashOf("buyer");
        for (let i = 0; i < burst; i++) expect(asks(buckets, key, 5)).toBe(true);
        const wait = buckets.peek(key, 5);
        expect(wait).toBeGreaterThan(0);
        expect(buckets.peek(key, 5 + wait * 0.99)).toBeGreaterThan(0);
        expect(asks(buckets, key, 5 + wait)).toBe(true);
      }),
    );
  });

  it("never refuse the innocent: 100,000 other keys in 64 slots take nothing from a key that keeps its pace", () => {
    const buckets = new Buckets(pace(1, 1), 64);
    const innocent = hashOf("innocent");
    for (let i = 0; i < 100_000; i++) {
      expect(asks(buckets, hashOf(`other-${i}`), i)).toBe(true);
      if (i % 1_000 === 0) expect(asks(buckets, innocent, i)).toBe(true);
    }
  });

  it("forget the bucket nearest to full first: one that is nearly drained outlives seven that are not", () => {
    const buckets = new Buckets(pace(1, 10), 8);
    const drained = hashOf("drained");
    for (let i = 0; i < 10; i++) buckets.take(drained, 0);
    for (let i = 0; i < 1_000; i++) buckets.take(hashOf(`other-${i}`), 0);
    expect(buckets.peek(drained, 0)).toBeGreaterThan(0);
  });

  it("at rate 0 limit nothing", () => {
    const buckets = new Buckets(pace(0, 1), 8);
    for (let i = 0; i < 1_000; i++) expect(asks(buckets, hashOf("x"), 0)).toBe(true);
  });
});

/** All three buckets at time 0, in their order. */
const look = (admission: Admission, saleId: string, uid: string, address: string, ceiling: Ceiling): number =>
  admission.peek(saleId, ceiling, 0, uid) || admission.peekAddress(address, 0);

describe("admission", () => {
  it("limits a buyer per sale, not over sales, and not other buyers", () => {
    const admission = new Admission(limits({ buyer: { rate: 1, burst: 2 } }), random);
    const ceiling = { fullMs: 0 };
    const buy = (sale: string, uid: string): number => {
      const wait = look(admission, sale, uid, "", ceiling);
      if (wait === 0) admission.take(ceiling, 0);
      return wait;
    };
    expect([buy("a", "u"), buy("a", "u"), buy("a", "u")]).toEqual([0, 0, 1_000]);
    expect(buy("b", "u")).toBe(0);
    expect(buy("a", "v")).toBe(0);
  });

  it("looks at a bucket without taking from it", () => {
    const admission = new Admission(limits({ buyer: { rate: 1, burst: 1 }, address: { rate: 1, burst: 1 } }), random);
    const ceiling = { fullMs: 0 };
    for (let i = 0; i < 100; i++) expect(look(admission, "a", "u", "c0a80001", ceiling)).toBe(0);
    admission.take(ceiling, 0);
    expect(look(admission, "a", "u", "", ceiling)).toBe(1_000);
    expect(look(admission, "a", "v", "c0a80001", ceiling)).toBe(1_000);
    expect(look(admission, "a", "v", "", ceiling)).toBe(0);
  });

  it("keeps a sale below its ceiling over any number of buyers and answers the longest wait", () => {
    const admission = new Admission(limits({ sale: { rate: 2, burst: 5 } }), random);
    const ceiling = { fullMs: 0 };
    let passed = 0;
    let wait = 0;
    for (let i = 0; i < 100; i++) {
      wait = look(admission, "a", `u${i}`, "", ceiling);
      if (wait > 0) continue;
      admission.take(ceiling, 0);
      passed += 1;
    }
    expect({ passed, wait }).toEqual({ passed: 5, wait: 500 });
  });
});

describe("address keys", () => {
  const key = (text: string): string | undefined => {
    const bytes = addressBytes(text);
    return bytes && addressKey(bytes);
  };

  it("take IPv4 whole, IPv6 by /64, and mapped IPv4 as IPv4", () => {
    expect(key("192.168.0.1")).toBe("c0a80001");
    expect(key("::ffff:192.168.0.1")).toBe("c0a80001");
    expect(key("::ffff:c0a8:1")).toBe("c0a80001");
    expect(key("2001:db8:1:2:3:4:5:6")).toBe("20010db800010002");
    expect(key("2001:db8:1:2::1")).toBe(key("2001:db8:1:2:ffff::"));
    expect(key("2001:db8:1:3::1")).not.toBe(key("2001:db8:1:2::1"));
    expect(key("fe80::1%eth0")).toBe("fe80000000000000");
    expect(key("::")).toBe("0000000000000000");
  });

  it("exempt loopback and know what is no address", () => {
    expect([key("127.0.0.1"), key("127.1.2.3"), key("::1"), key("::ffff:127.0.0.1")]).toEqual(["", "", "", ""]);
    expect([key("localhost"), key("1.2.3"), key("1.2.3.4:80"), key(""), key("a::b::c")]).toEqual(Array(5).fill(undefined));
  });

  it("read every IPv6 address that the platform writes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const groups = Array.from({ length: 8 }, (_, i) => (((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number)).toString(16));
        expect(addressBytes(new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1))).toEqual(bytes);
      }),
    );
  });
});
