import { beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "#protocol/ports";
import { Wakeup } from "./wakeup.ts";

/** Sleeps that end by their signal, or all at once when time passes. */
let asleep: Set<() => void>;
const clock: Clock = {
  monotonicMs: () => 0,
  sleep: (_ms, signal) =>
    new Promise((resolve) => {
      const end = (): void => {
        asleep.delete(end);
        resolve();
      };
      asleep.add(end);
      if (signal?.aborted === true) end();
      else signal?.addEventListener("abort", end, { once: true });
    }),
};
const timePasses = (): void => {
  for (const end of asleep) end();
};

const stop = new AbortController();
let wakeup: Wakeup;
beforeEach(() => {
  asleep = new Set();
  wakeup = new Wakeup(clock);
});

describe("a sleep that an event can end", () => {
  it("ends with the event, and the next one sleeps again", async () => {
    const first = wakeup.wait(1, stop.signal);
    wakeup.wake();
    await first;
    const second = wakeup.wait(1, stop.signal);
    expect(asleep.size).toBe(1);
    timePasses();
    await second;
  });

  it("ends at once if the event came while nobody slept, once for any number of events", async () => {
    wakeup.wake();
    wakeup.wake();
    await wakeup.wait(1, stop.signal);
    void wakeup.wait(1, stop.signal);
    expect(asleep.size).toBe(1);
  });

  it("ends on stop, and does not begin after it", async () => {
    const ended = new AbortController();
    const first = wakeup.wait(1, ended.signal);
    ended.abort();
    await first;
    await wakeup.wait(1, ended.signal);
    expect(asleep.size).toBe(0);
  });
});
