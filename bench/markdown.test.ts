import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { markdownOf, summaryOf, withMeasured } from "./markdown.ts";
import { entryOf, type Results } from "./results.ts";
import { TARGETS } from "./targets.ts";

const results: Results = {
  machine: { cpu: "a CPU", cores: 2, memoryBytes: 8e9, system: "Linux", loadAtStart: 3 },
  versions: { node: "v20.20.2", redis: "Redis server v=7.0.15 sha=0" },
  command: "npm run bench -- --seconds 5",
  at: "2026-01-02T00:00:00.000Z",
  seconds: 5,
  runs: 3,
  tookSeconds: 61,
  generators: {},
  scenarios: {
    reads: entryOf({ what: "", unit: "reads", perSecond: 80_000, referencePerSecond: 100_000, ratio: 0.8, spread: 0.05, generator: "" }),
  },
  skipped: [],
  broken: [],
};

const text = "before\n<!-- measured: npm run bench -- --readme writes this -->\nold\n<!-- /measured -->\nafter\n";

describe("what was measured, in a README", () => {
  it("takes the place of what stood there, and of nothing else", () => {
    const written = withMeasured(text, markdownOf(results));
    expect(written.startsWith("before\n")).toBe(true);
    expect(written.endsWith("<!-- /measured -->\nafter\n")).toBe(true);
    expect(written).not.toContain("old");
    expect(withMeasured(written, markdownOf(results))).toBe(written);
  });

  it("says command, date, machine, versions, and that the machine was not quiet", () => {
    const written = withMeasured(text, markdownOf(results));
    expect(written).toContain("`npm run bench -- --seconds 5`,\n2026-01-02, 2 cores (a CPU), shared by generator, engine and stores");
    expect(written).toContain("node v20.20.2, redis 7.0.15.");
    expect(written).toContain("load average 3.0 when it began");
    expect(markdownOf({ ...results, machine: { ...results.machine, loadAtStart: 0.1 } })).not.toContain("load average");
  });

  it("shows each entry with its ratio", () => {
    expect(withMeasured(text, markdownOf(results))).toContain("| `reads` | 80,000 reads | 100,000 | 0.80 | 5 % |");
  });

  it("shows on the front page each target with its outcome, and where the reason stands if it is missed", () => {
    const entry = (ratio: number) => entryOf({ what: "", unit: "", perSecond: 10, referencePerSecond: 20, ratio, generator: "" });
    const lines = (ratio: number) =>
      summaryOf({ ...results, scenarios: { "decide.always": entry(ratio) } })
        .split("\n")
        .filter((line) => line.startsWith("| wins on disk"));
    expect(lines(0.6)).toEqual([expect.stringMatching(/\| ≥ 0\.50 \| 0\.60 \| ✓ \|$/)]);
    expect(lines(0.4)).toEqual([expect.stringMatching(/\| ≥ 0\.50 \| 0\.40 \| \[✗\]\[why\] \|$/)]);
  });

  it("says which number of a row is missed, and the reason where one is known", () => {
    const shard = entryOf({ what: "", unit: "", perSecond: 400_000, ratio: 7, generator: "" });
    const whole = markdownOf({ ...results, scenarios: { "shard.batch256": shard, "peer.dtm.shipped": shard } });
    expect(whole).toMatch(/^- \*\*missed\*\* .*, against one EVALSHA a buy: 7x, target ≥ 8x$/m);
    expect(whole).toMatch(/^- \*\*missed\*\* .*, wins: 7x, target ≥ 15x \(its handler stores no order/m);
  });

  it("fits the front page: ten lines at most, no cell over 60 characters, also where every target was measured", () => {
    const numbers = { cpuAgainstFirst: 1.0312, redisBytesPerRefusedBuyer: 12_345, redisBytesPerWinner: 123_456 };
    const entry = (ratio: number) =>
      entryOf({
        what: "",
        unit: "",
        perSecond: 12_345_678,
        ratio,
        p99Ms: 1234.5,
        numbers: { ...numbers, cpuAgainstFirst: ratio },
        generator: "",
      });
    const names = [...TARGETS.flatMap(({ measures }) => measures.map((measure) => measure.entry)), "peer.node", "peer.postgres"];
    const all = { ...results, scenarios: Object.fromEntries(names.map((name, i) => [name, entry(i * 1.234)])) };
    for (const language of ["en", "zh"] as const) {
      const rows = summaryOf(all, language)
        .split("\n")
        .filter((line) => line.startsWith("| "));
      expect(rows.length - 2).toBeLessThanOrEqual(10);
      expect(rows.length - 2).toBeGreaterThan(8);
      for (const cell of rows.flatMap((line) => line.split(" | "))) expect(cell.length).toBeLessThanOrEqual(60);
    }
  });

  it("shows what people would use instead beside ours", () => {
    const peer = entryOf({
      what: "",
      unit: "wins",
      perSecond: 20_000,
      reference: "dtm",
      referencePerSecond: 1_000,
      ratio: 20,
      p50Ms: 1,
      p99Ms: 2,
      referenceP50Ms: 30,
      referenceP99Ms: 40,
      latencyPerSecond: 500,
      generator: "",
    });
    const whole = markdownOf({ ...results, scenarios: { "peer.dtm": peer } });
    expect(whole).toContain("| dtm | 1,000 : 20,000 | **20x** |  |  | 30.0 / 40.0 : 1.0 / 2.0 at 500/s |");
  });

  it("has a place in the README of the bench and on the front pages", async () => {
    for (const file of ["README.md", "../README.md", "../README.zh-CN.md"]) {
      const readme = await readFile(new URL(file, import.meta.url), "utf8");
      expect(withMeasured(readme, summaryOf(results))).toContain("npm run bench -- --seconds 5");
    }
  });
});
