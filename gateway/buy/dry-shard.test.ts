import { beforeEach, describe, expect, it } from "vitest";
import { DryShard, DRY_WAIT_MS, MOST_DRY_WAITERS } from "./dry-shard.ts";

import { OutcomeCode, refusals, type OnOutcome, type Outcome } from "./outcome.ts";

const TICK_MS = 25;

let nowMs = 0;
let end: Outcome | undefined;
let asked: { readonly packed: string; readonly answer: OnOutcome }[] = [];
let hints: number[] = [];
let refusal: Outcome | undefined;
let dry: DryShard;

beforeEach(() => {
  nowMs = 1_000;
  end = undefined;
  asked = [];
  hints = [];
  refusal = undefined;
  dry = new DryShard({
    clock: { monotonicMs: () => nowMs, sleep: () => Promise.resolve() },
    ask: (_saleId, packed, answer) => {
      if (refusal !== undefined) return refusal;
      asked.push({ packed, answer });
      return undefined;
    },
    end: () => end,
    hint: (_saleId, units) => hints.push(units),
  });
});

const told = new Map<string, Outcome>();
const arrive = (uid: string, left = 0, packed = uid): void => {
  told.delete(uid);
  dry.hold("sale", packed, (outcome) => told.set(uid, outcome), left);
};
const codeOf = (uid: string): string | undefined => told.get(uid)?.code;
/** Time passes; whoever asks Redis again meanwhile is told what `redis` says: a win, or dry if it says nothing. */
const pass = (ms: number, redis: (packed: string) => Outcome | undefined = () => undefined): void => {
  for (const untilMs = nowMs + ms; nowMs < untilMs;) {
    nowMs += TICK_MS;
    dry.tick(nowMs);
    while (asked.length > 0) {
      const { packed, answer } = asked.shift() as (typeof asked)[number];
      const outcome = redis(packed);
      if (outcome === undefined) dry.hold("sale", packed, answer, 0);
      else answer(outcome);
    }
  }
};
const win: Outcome = { code: OutcomeCode.reserved, orderId: "0-1-1-0", units: 1 };

describe("a buyer at a dry shard", () => {
  it("waits a moment, then is told to come again, never sold_out", () => {
    arrive("ann");
    pass(DRY_WAIT_MS - TICK_MS);
    expect(codeOf("ann")).toBeUndefined();
    pass(2 * TICK_MS);
    expect(told.get("ann")).toMatchObject({ code: "units_moving", retryAfterMs: 1_000 });
    expect(dry.count).toBe(0);
  });

  it("gets the unit that comes meanwhile", () => {
    arrive("ann");
    pass(100);
    pass(50, () => win);
    expect(codeOf("ann")).toBe("reserved");
    expect(dry.count).toBe(0);
  });

  it("is told sold_out as soon as the flag comes in, after Redis was asked once more", () => {
    arrive("ann");
    arrive("holder");
    end = refusals.soldOut;
    pass(TICK_MS, (packed) => (packed === "holder" ? win : undefined));
    expect([codeOf("ann"), codeOf("holder")]).toEqual(["sold_out", "reserved"]);
    arrive("bob");
    expect(codeOf("bob")).toBe("sold_out");
  });

  it("who wants more than is left is not told sold_out, flag or not", () => {
    end = refusals.soldOut;
    arrive("ann", 2, "ann::3");
    pass(DRY_WAIT_MS * 2, () => refusals.fewerLeft);
    expect(codeOf("ann")).toBe("units_moving");
  });

  it("hears what the batcher says if it takes nobody", () => {
    arrive("ann");
    refusal = refusals.busy;
    pass(100);
    expect(codeOf("ann")).toBe("busy");
  });

  it("hears that nothing was taken when the process stops", () => {
    arrive("ann");
    dry.release();
    expect(codeOf("ann")).toBe("busy");
    expect(dry.count).toBe(0);
  });
});

describe("a crowd at a dry shard", () => {
  const crowd = (count: number): void => {
    for (let n = 0; n < count; n += 1) arrive(`b${n}`);
  };

  it("asks Redis with one voice", () => {
    crowd(500);
    let questions = 0;
    pass(DRY_WAIT_MS - TICK_MS, () => {
      questions += 1;
      return undefined;
    });
    expect(questions).toBeLessThanOrEqual(DRY_WAIT_MS / 40);
    expect(questions).toBeGreaterThan(2);
  });

  it("is served in its order when units come: the first who gets one calls the others", () => {
    crowd(5);
    let units = 3;
    const redis = (): Outcome | undefined => (units-- > 0 ? win : undefined);
    pass(100, redis);
    const winners = ["b0", "b1", "b2", "b3", "b4"].filter((uid) => codeOf(uid) === "reserved");
    expect(winners).toEqual(["b0", "b1", "b2"]);
    pass(DRY_WAIT_MS);
    expect([codeOf("b3"), codeOf("b4")]).toEqual(["units_moving", "units_moving"]);
  });

  it("is bounded: one more is told at once to come again", () => {
    crowd(MOST_DRY_WAITERS);
    expect(codeOf("b0")).toBeUndefined();
    arrive("late");
    expect(codeOf("late")).toBe("units_moving");
    expect(dry.count).toBe(MOST_DRY_WAITERS);
  });

  it("is told of a few times a second, however large", () => {
    crowd(2_000);
    expect(hints).toEqual([1]);
    pass(1_000);
    expect(hints.length).toBeLessThanOrEqual(11);
  });

  it("tells how many units the one wants who speaks", () => {
    arrive("ann", 0, "ann::3");
    expect(hints).toEqual([3]);
  });
});
