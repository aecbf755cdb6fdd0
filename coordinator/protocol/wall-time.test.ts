import { describe, expect, it } from "vitest";
import { isoTime } from "./iso-time.ts";
import { wallTime, wallTimeFault } from "./wall-time.ts";

const NOW_MS = Date.UTC(2026, 10, 11);
const RULE = "must be whole milliseconds since 1970, from 2000 to 2100";

describe("a time that somebody gives", () => {
  it.each([NOW_MS, Date.UTC(2000, 0, 1), Date.UTC(2100, 0, 1)])("may be %d", (ms) => {
    expect(wallTimeFault(ms)).toBeUndefined();
    expect(wallTime().parse(ms)).toBe(ms);
  });

  it.each([
    [NOW_MS / 1_000, `; ${NOW_MS / 1_000} would be one in seconds`],
    [NOW_MS * 1_000, `; ${NOW_MS * 1_000} would be one in microseconds`],
    [NOW_MS * 1e6, `; ${NOW_MS * 1e6} would be one in nanoseconds`],
    [0, ""],
    [-1, ""],
    [Date.UTC(2000, 0, 1) - 1, ""],
    [Date.UTC(2100, 0, 1) + 1, ""],
    [NOW_MS + 0.5, ""],
    [Number.MAX_SAFE_INTEGER, ""],
    [8.64e15, ""],
    [Number.POSITIVE_INFINITY, ""],
    [Number.NaN, ""],
    [String(NOW_MS), ""],
    [null, ""],
  ])("may not be %s", (value, hint) => {
    expect(wallTimeFault(value)).toBe(RULE + hint);
    const issues =
      wallTime()
        .safeParse(value)
        .error?.issues.map(({ message }) => message) ?? [];
    expect(new Set(issues)).toEqual(new Set([RULE + hint]));
  });
});

describe("a time that is shown", () => {
  it("is ISO 8601 as far as there are dates", () => {
    expect(isoTime(NOW_MS)).toBe("2026-11-11T00:00:00.000Z");
    expect(isoTime(8.64e15)).toBe("+275760-09-13T00:00:00.000Z");
    for (const ms of [8.64e15 + 1, -8.64e15 - 1, Number.MAX_SAFE_INTEGER, Number.NaN, Number.POSITIVE_INFINITY])
      expect(isoTime(ms)).toBeUndefined();
  });
});
