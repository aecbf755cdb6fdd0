import { describe, expect, it } from "vitest";
import type { TransferFacts } from "#protocol/requests";
import { Stay, type StayStock } from "./stay.ts";

type Fact = TransferFacts[number];
const fact = (shard: number, change: Partial<Fact> = {}): Fact => ({
  shard,
  soldUnits: 0,
  sentUnits: 0,
  isDraining: false,
  receivedUnits: 0,
  receivedAgoMs: null,
  ...change,
});
const stock = (left: number, movesApplied = true): StayStock => ({ left, movesApplied });
const received = (units: number, agoMs: number): Partial<Fact> => ({ receivedUnits: units, receivedAgoMs: agoMs });

/** Units that nobody fetched have gone on so many times. */
const goneOn = (times: number): Stay => {
  const stay = new Stay();
  for (let i = 0; i < times; i += 1) stay.goOn(fact(0, received(1, 2_000)), stock(1));
  return stay;
};

describe("units that came for somebody", () => {
  it("stay 1.5 s, twice as long each time that they went on unfetched, at most 6 s", () => {
    expect([0, 1, 2, 3, 20].map((times) => goneOn(times).holdMs)).toEqual([1_500, 3_000, 6_000, 6_000, 6_000]);
  });

  it("stay 1.5 s again as soon as what came last was fetched", () => {
    const stay = goneOn(3);
    stay.look([fact(0, received(1, 9_000)), fact(1, received(2, 400)), fact(2)], new Map([0, 1, 2].map((shard) => [shard, stock(1)])));
    expect(stay.holdMs).toBe(1_500);
  });

  it("are not fetched by being on their way, in or out, nor because others that came before were", () => {
    const facts = [fact(0, received(1, 9_000)), fact(1, received(2, 400))];
    for (const [change, there] of [
      [{ sentUnits: 2 }, stock(0)],
      [{}, stock(0, false)],
      [{}, stock(2)],
    ] as const) {
      const stay = goneOn(3);
      const [before, last] = facts as [Fact, Fact];
      stay.look(
        [before, { ...last, ...change }],
        new Map([
          [0, stock(0)],
          [1, there],
        ]),
      );
      expect(stay.holdMs).toBe(6_000);
    }
  });

  it("are not those of a shard that got none, drains, or has sold of them", () => {
    const stay = new Stay();
    stay.goOn(fact(0), stock(5));
    stay.goOn(fact(0, { ...received(1, 100), isDraining: true }), stock(5));
    stay.goOn(fact(0, received(3, 100)), stock(2));
    stay.goOn(undefined, stock(2));
    expect(stay.holdMs).toBe(1_500);
  });
});
