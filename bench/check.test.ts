import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { baselineOf, baselineSchema, judge, type Baseline } from "./check.ts";
import { entryOf, resultsSchema, type Results } from "./results.ts";

const entry = (ratio: number | null, spread = 0.02) =>
  entryOf({ what: "a thing", unit: "things", perSecond: 10, generator: "none", ratio, spread });

const results = (scenarios: Results["scenarios"]): Results => ({
  machine: { cpu: "a CPU", cores: 2, memoryBytes: 1, system: "Linux", loadAtStart: 0 },
  versions: {},
  command: "npm run bench",
  at: "2026-01-01T00:00:00.000Z",
  seconds: 1,
  runs: 1,
  tookSeconds: 61,
  generators: {},
  scenarios,
  skipped: [],
  broken: [],
});

const baseline = (ratio: number, spread: number): Baseline => ({
  machine: "",
  command: "",
  at: "",
  scenarios: { refuse: { ratio, spread } },
});

describe("the regression guard", () => {
  it("passes a ratio inside the stated spread and fails one below it", () => {
    const kind = (ratio: number): string | undefined => judge({ refuse: entry(ratio) }, baseline(0.8, 0.15))[0]?.kind;
    expect(kind(0.8)).toBe("holds");
    expect(kind(0.69)).toBe("holds");
    expect(kind(0.67)).toBe("worse");
    expect(kind(0.95)).toBe("better");
  });

  it("judges by ratio and not by rate", () => {
    const slow = { ...entry(0.8), perSecond: 1 };
    expect(judge({ refuse: slow }, baseline(0.8, 0.15))[0]?.kind).toBe("holds");
  });

  it("judges only what was measured and has a ratio", () => {
    expect(judge({ other: entry(0.1) }, baseline(0.8, 0.15))).toEqual([]);
    expect(judge({ refuse: entry(null) }, baseline(0.8, 0.15))).toEqual([]);
  });

  it("makes a baseline that its own results pass, with a spread of at least 15 % and at most 50 %", () => {
    const measured = results({ steady: entry(0.8, 0.01), shaky: entry(2, 0.4), wild: entry(3, 1.2), alone: entry(null) });
    const made = baselineSchema.parse(baselineOf(measured));
    expect(made.scenarios).toEqual({
      steady: { ratio: 0.8, spread: 0.15 },
      shaky: { ratio: 2, spread: 0.4 },
      wild: { ratio: 3, spread: 0.5 },
    });
    expect(judge(measured.scenarios, made).every(({ kind }) => kind === "holds")).toBe(true);
  });

  it("finds the committed baseline in order", async () => {
    const text = await readFile(new URL("baseline.json", import.meta.url), "utf8");
    expect(Object.keys(baselineSchema.parse(JSON.parse(text)).scenarios).length).toBeGreaterThan(0);
  });
});

describe("the shape of the results", () => {
  it("survives JSON", () => {
    const measured = results({ "refuse.soldOut": entry(0.8) });
    expect(resultsSchema.parse(JSON.parse(JSON.stringify(measured)))).toEqual(measured);
  });

  it("notices a number that is missing", () => {
    const { perSecond: _perSecond, ...less } = entry(0.8);
    expect(resultsSchema.safeParse(results({ "refuse.soldOut": less as ReturnType<typeof entry> })).success).toBe(false);
  });
});
