import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { crashPoints, parseCrashAt } from "./crash-points.ts";

/** What this process would have been sent: a test cannot stop itself. */
let sent: unknown[] = [];
beforeEach(() => {
  sent = [];
  vi.spyOn(process, "kill").mockImplementation((_pid, signal) => {
    sent.push(signal);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

const signalsOf = async (at: string, calls: number): Promise<readonly unknown[]> => {
  const port = crashPoints(parseCrashAt(at), pino({ level: "silent" }))("log", { append: () => Promise.resolve() });
  for (let n = 0; n < calls; n += 1) await port.append();
  return sent;
};

describe("a point is passed", () => {
  it("and the process dies or stops at the pass that is named, once", async () => {
    expect(await signalsOf("log.append:before:2", 1)).toEqual([]);
    expect(await signalsOf("log.append:before:2", 4)).toEqual(["SIGKILL"]);
    expect(await signalsOf("log.append:after:2:pause", 4)).toEqual(["SIGKILL", "SIGSTOP"]);
  });

  it("and the process stops at each pass from the one that is named", async () => {
    expect(await signalsOf("log.append:after:3:step", 2)).toEqual([]);
    expect(await signalsOf("log.append:after:3:step", 5)).toEqual(["SIGSTOP", "SIGSTOP", "SIGSTOP"]);
  });
});
