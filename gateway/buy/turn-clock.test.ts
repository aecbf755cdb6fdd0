import { describe, expect, it } from "vitest";
import { TurnClock } from "./turn-clock.ts";

const corner = () => {
  const state = { nowMs: 0, reads: 0 };
  const ends: (() => void)[] = [];
  const clock = {
    monotonicMs: () => {
      state.reads += 1;
      return state.nowMs;
    },
  };
  const turnClock = new TurnClock(clock, { atEnd: (flush) => void ends.push(flush) });
  return { state, turnClock, endTurn: () => ends.splice(0).forEach((end) => end()), pending: () => ends.length };
};

describe("the clock of a turn", () => {
  it("is read once for a crowd of one turn, and anew in the next", () => {
    const { state, turnClock, endTurn } = corner();
    for (let i = 0; i < 10; i++) expect(turnClock.monotonicMs()).toBe(0);
    state.nowMs = 5;
    expect(turnClock.monotonicMs()).toBe(0);
    expect(state.reads).toBe(1);
    endTurn();
    expect(turnClock.monotonicMs()).toBe(5);
  });

  it("is read again within a turn that goes on: nobody sees one older than 32 requests", () => {
    const { state, turnClock, pending } = corner();
    for (let i = 0; i < 1_000; i++) {
      state.nowMs = i;
      expect(i - turnClock.monotonicMs()).toBeLessThan(32);
    }
    expect(pending()).toBe(1);
  });
});
