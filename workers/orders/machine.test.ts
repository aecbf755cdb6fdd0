import { expect, it } from "vitest";
import { OrderState } from "#protocol/order";
import { changedBy, OrderEvent, revivedBy, standingOf, targetOf } from "./machine.ts";

/** What an event does to an order of each state, as DESIGN 9 has it: a state it comes into, or why it stays. */
const EXPECTED = [
  // state             pay            expire     cancel       refund
  ["pending_payment", "paid", "expired", "cancelled", "refused"],
  ["paid", "done", "done", "refused", "refunded"],
  ["expired", "needs_units", "done", "done", "refused"],
  ["cancelled", "needs_units", "done", "done", "refused"],
  ["refunded", "done", "done", "refused", "done"],
  ["rejected", "refused", "done", "refused", "refused"],
] as const;
const EVENTS = [OrderEvent.pay, OrderEvent.expire, OrderEvent.cancel, OrderEvent.refund] as const;

it("every state has an answer to every event", () => {
  expect(EXPECTED.map(([state]) => state)).toEqual(Object.values(OrderState));
  for (const [state, ...answers] of EXPECTED)
    for (const [index, event] of EVENTS.entries()) {
      const answer = answers[index];
      expect([state, event, standingOf(state, event) ?? targetOf[event]]).toEqual([state, event, answer]);
      expect(changedBy(event).includes(state)).toBe(standingOf(state, event) === undefined);
      expect(revivedBy(event).includes(state)).toBe(answer === "needs_units");
    }
});

it("an order in a state of a later version is left as it is", () => {
  for (const event of EVENTS) expect(standingOf("returned", event)).toBe("refused");
});

it("no event takes an order out of a state in which its units are given back", () => {
  for (const event of EVENTS)
    for (const state of [OrderState.expired, OrderState.cancelled, OrderState.refunded, OrderState.rejected])
      expect(changedBy(event)).not.toContain(state);
});
