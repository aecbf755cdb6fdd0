import { expect, it } from "vitest";
import type { Look } from "./invariants.ts";
import { OutboxWatch } from "./outbox-watch.ts";

const look = (outboxLength: number, last: string, epoch: number, applied: number): Look =>
  ({ state: { outboxLength, last }, row: { epoch, applied } }) as Look;

it("counts how long nothing was applied of what waits, and begins anew with each entry that was", () => {
  const watch = new OutboxWatch();
  const at = (nowMs: number, what: Look): number => {
    watch.look(what, nowMs);
    return watch.stillMs;
  };
  expect(at(1_000, look(0, "1-5", 1, 5))).toBe(0);
  expect(at(2_000, look(1, "1-6", 1, 5))).toBe(1_000);
  expect(at(60_000, look(9, "1-14", 1, 5))).toBe(59_000);
  expect(at(61_000, look(8, "1-14", 1, 6))).toBe(0);
  expect(at(90_000, look(8, "1-14", 1, 6))).toBe(29_000);
  expect(at(91_000, look(8, "1-14", 2, 0))).toBe(0);
  // applied, and not settled yet
  expect(at(120_000, look(8, "2-3", 2, 3))).toBe(0);
});
