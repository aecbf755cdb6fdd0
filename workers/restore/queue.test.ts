import { beforeEach, describe, expect, it } from "vitest";
import { until } from "../../test/harness/index.ts";
import { RestoreQueue } from "./queue.ts";

/** The asker gives up after so long without progress (coordinator/shards/rows/rows.ts). */
const ASKER_WAITS_MS = 5_000;

/** Time goes on when it is told to. */
class HandClock {
  readonly slept: number[] = [];
  #wake: (() => void)[] = [];

  readonly monotonicMs = (): number => 0;

  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      this.slept.push(ms);
      this.#wake.push(resolve);
      signal?.addEventListener("abort", () => resolve(), { once: true });
    });

  /** every sleep ends */
  pass(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** A restore that ends when it is told to. */
class Work {
  isRunning = false;
  told = 0;
  end = (): void => undefined;
  fail = (): void => undefined;
  readonly ended: Promise<string>;

  constructor(queue: RestoreQueue, tell = (): void => undefined) {
    const run = (): Promise<string> => {
      this.isRunning = true;
      return new Promise((resolve, reject) => {
        this.end = () => resolve("ended");
        this.fail = () => reject(new Error("failed"));
      });
    };
    const progress = (): void => {
      this.told += 1;
      tell();
    };
    this.ended = queue.run(run, progress).catch((error: unknown) => (error as Error).message);
  }
}

let clock: HandClock;
let queue: RestoreQueue;
beforeEach(() => {
  clock = new HandClock();
  queue = new RestoreQueue(clock);
});

const works = (count: number): Work[] => Array.from({ length: count }, () => new Work(queue));
const running = (all: readonly Work[]): boolean[] => all.map(({ isRunning }) => isRunning);

describe("a queue of restores", () => {
  it("lets two run, and the third says again and again that it waits", async () => {
    const all = works(3);
    const [first, , third] = all as [Work, Work, Work];
    for (const times of [1, 2, 3]) {
      await until(() => third.told === times, `the third to say ${times} times that it waits`);
      expect(running(all)).toEqual([true, true, false]);
      clock.pass();
    }
    expect(Math.max(...clock.slept)).toBeLessThan(ASKER_WAITS_MS);
    expect(first.told).toBe(0);
  });

  it.each(["end", "fail"] as const)("begins the one that waits longest as soon as one that runs does %s", async (how) => {
    const all = works(4);
    const [, second, third, fourth] = all as [Work, Work, Work, Work];
    second[how]();
    await until(() => third.isRunning, "the third to run, though no time has passed");
    expect(await second.ended).toBe(how === "end" ? "ended" : "failed");
    expect(running(all)).toEqual([true, true, true, false]);
    third.end();
    await until(() => fourth.isRunning, "the fourth to run");
  });

  it("has both places again when all have ended", async () => {
    const all = works(5);
    for (const work of all) {
      await until(() => work.isRunning, "it to run");
      work.end();
      await work.ended;
    }
    const later = works(3);
    expect(running(later)).toEqual([true, true, false]);
  });

  it("gives no place to one that could not say that it waits", async () => {
    const [first, second] = works(2) as [Work, Work];
    const mute = new Work(queue, () => {
      throw new Error("the connection is closed");
    });
    expect(await mute.ended).toBe("the connection is closed");
    first.end();
    second.end();
    await Promise.all([first.ended, second.ended]);
    expect(mute.isRunning).toBe(false);
    expect(running(works(3))).toEqual([true, true, false]);
  });
});
