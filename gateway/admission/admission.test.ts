import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBytes, addressKey, isLoopback, unmapped } from "./address.ts";
import { Admission, type Ceiling, type Limits } from "./admission.ts";
import { Buckets } from "./buckets.ts";
import { drawSeed, hashInto, type Hash } from "./hash.ts";
import { pace } from "./pace.ts";
import { ReadAdmission, type ReadLimits } from "./read-admission.ts";

const hashOf = (text: string): Hash => {
  const hash = { hi: 0, lo: 0 };
  hashInto(hash, 1, 2, text);
  return hash;
};

const seed = drawSeed({ nonce: () => "n", fraction: () => 0.5 });
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
const look = (admission: Admission, uid: string, address: string, ceiling: Ceiling): number =>
  admission.peek(ceiling, 0, uid) || admission.peekAddress(address, 0);

describe("admission", () => {
  it("limits a buyer over all sales together, and not other buyers", () => {
    const admission = new Admission(limits({ buyer: { rate: 1, burst: 2 } }), seed);
    const sales = { a: { fullMs: 0 }, b: { fullMs: 0 } };
    const buy = (sale: keyof typeof sales, uid: string): number => {
      const wait = look(admission, uid, "", sales[sale]);
      if (wait === 0) admission.take(sales[sale], 0);
      return wait;
    };
    expect([buy("a", "u"), buy("b", "u"), buy("a", "u"), buy("b", "u")]).toEqual([0, 0, 1_000, 1_000]);
    expect([buy("a", "v"), buy("b", "v"), buy("b", "v")]).toEqual([0, 0, 1_000]);
  });

  it("looks at a bucket without taking from it", () => {
    const admission = new Admission(limits({ buyer: { rate: 1, burst: 1 }, address: { rate: 1, burst: 1 } }), seed);
    const ceiling = { fullMs: 0 };
    for (let i = 0; i < 100; i++) expect(look(admission, "u", "c0a80001", ceiling)).toBe(0);
    admission.take(ceiling, 0);
    expect(look(admission, "u", "", ceiling)).toBe(1_000);
    expect(look(admission, "v", "c0a80001", ceiling)).toBe(1_000);
    expect(look(admission, "v", "", ceiling)).toBe(0);
  });

  it("keeps a sale below its ceiling over any number of buyers and answers the longest wait", () => {
    const admission = new Admission(limits({ sale: { rate: 2, burst: 5 } }), seed);
    const ceiling = { fullMs: 0 };
    let passed = 0;
    let wait = 0;
    for (let i = 0; i < 100; i++) {
      wait = look(admission, `u${i}`, "", ceiling);
      if (wait > 0) continue;
      admission.take(ceiling, 0);
      passed += 1;
    }
    expect({ passed, wait }).toEqual({ passed: 5, wait: 500 });
  });
});

describe("admission of reads", () => {
  const reads = (part: Partial<ReadLimits>): ReadAdmission =>
    new ReadAdmission({ buyer: free, address: free, ceiling: free, slots: 1 << 10, ...part }, seed);
  /** Counts how often an address is asked for. */
  const readerAt = (address: string): { readonly address: string; readonly asked: () => number } => {
    let asked = 0;
    return {
      get address() {
        asked += 1;
        return address;
      },
      asked: () => asked,
    };
  };

  it("asks for nobody's address while everybody's reads are below the ceiling", () => {
    const admission = reads({ ceiling: { rate: 10, burst: 10 }, address: { rate: 1, burst: 2 } });
    const one = readerAt("0a000001");
    expect(Array.from({ length: 10 }, () => admission.publicRead(one, 0))).toEqual(Array(10).fill(0));
    expect(one.asked()).toBe(0);
    expect([0, 1, 2].map(() => admission.publicRead(one, 0))).toEqual([0, 0, 1_000]);
    expect(one.asked()).toBe(3);
    // another address is not refused for it, loopback never, and a second later nobody's is asked for again
    expect([admission.publicRead(readerAt("0a000002"), 0), admission.publicRead(readerAt(""), 0)]).toEqual([0, 0]);
    expect([admission.publicRead(one, 1_000), one.asked()]).toEqual([0, 3]);
  });

  it("counts what costs more than cached bytes to its address at once", () => {
    const admission = reads({ ceiling: { rate: 10, burst: 10 }, address: { rate: 1, burst: 2 } });
    expect([0, 1, 2].map(() => admission.countedRead(readerAt("0a000001"), 0))).toEqual([0, 0, 1_000]);
    expect(admission.countedRead(readerAt("0a000002"), 0)).toBe(0);
  });

  it("limits the standings of a buyer, and takes nothing from him for a forged ticket but from its address", () => {
    const admission = reads({ buyer: { rate: 1, burst: 1 }, address: { rate: 1, burst: 2 } });
    const here = readerAt("0a000001");
    for (let forged = 0; forged < 2; forged++) {
      expect(admission.peek("u", here, 0)).toBe(0);
      admission.takeAddress(0);
    }
    expect(admission.peek("u", here, 0)).toBe(1_000);
    const there = readerAt("0a000002");
    expect(admission.peek("u", there, 0)).toBe(0);
    admission.takeBuyer(0);
    expect([admission.peek("u", there, 0), admission.peek("v", there, 0)]).toEqual([1_000, 0]);
  });
});

describe("address keys", () => {
  const key = (text: string): string | undefined => {
    const bytes = addressBytes(text);
    return bytes && addressKey(unmapped(bytes));
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

  it("know loopback, and what is no address", () => {
    const loops = (text: string): boolean => isLoopback(unmapped(addressBytes(text) as Uint8Array));
    expect(["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"].map(loops)).toEqual(Array(4).fill(true));
    expect(["128.0.0.1", "::2", "::", "fe80::1", "7f00::1"].map(loops)).toEqual(Array(5).fill(false));
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
