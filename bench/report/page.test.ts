import { describe, expect, it } from "vitest";
import { entryOf, type Results } from "../results.ts";
import { reportPage } from "./page.ts";

const results: Results = {
  machine: { cpu: "a <fast> CPU", cores: 2, memoryBytes: 8e9, system: "Linux", loadAtStart: 0.1 },
  versions: { node: "v20" },
  command: "npm run bench",
  at: "2026-01-01T00:00:00.000Z",
  seconds: 5,
  runs: 3,
  tookSeconds: 61,
  generators: { "wrk -t1 -c64": 100_000 },
  scenarios: {
    "refuse.soldOut": entryOf({
      what: "a buyer & a sale",
      unit: "refusals",
      perSecond: 80_000,
      reference: "bare uWebSockets.js",
      referencePerSecond: 100_000,
      ratio: 0.8,
      cpuMicros: 5,
      cpuSeconds: { gateway: 2, generator: 1 },
      generator: "wrk",
      curves: [
        {
          title: "latency, open loop",
          x: "percentile",
          y: "ms",
          lines: [
            {
              name: "ours",
              points: [
                [0, 0.1],
                [50, 0.5],
                [99.99, 4],
              ],
            },
          ],
        },
      ],
    }),
    "scale.1": entryOf({ what: "", unit: "decisions", perSecond: 1, generator: "", cpuMicros: 20 }),
    "scale.2": entryOf({ what: "", unit: "decisions", perSecond: 1, generator: "", cpuMicros: 21 }),
  },
  skipped: ["dtm: go is not installed"],
  broken: [],
};

describe("the report page", () => {
  const page = reportPage(results);

  it("is one file that loads nothing and runs nothing", () => {
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(http/);
  });

  it("draws what stands against a bare server, costs, the scale and each entry's curves", () => {
    expect(page.match(/<svg/g)).toHaveLength(4);
    expect(page).toContain("Against the limit");
    expect(page).not.toContain("Against other ways");
  });

  it("draws what stands against other ways apart from it", () => {
    const other = entryOf({ what: "", unit: "wins", perSecond: 20, reference: "dtm", referencePerSecond: 1, ratio: 20, generator: "" });
    expect(reportPage({ ...results, scenarios: { "peer.dtm": other } })).toContain("Against other ways");
  });

  it("says of each target whether it is reached", () => {
    expect(page).toContain('<span class="reached">reached</span>');
    const slow = { ...results.scenarios, "refuse.soldOut": entryOf({ what: "", unit: "", perSecond: 1, ratio: 0.79, generator: "" }) };
    expect(reportPage({ ...results, scenarios: slow })).toContain('<span class="missed">missed</span>');
  });

  it("escapes what it was told", () => {
    expect(page).toContain("a &lt;fast&gt; CPU");
    expect(page).toContain("a buyer &amp; a sale");
  });

  it("says what was skipped and what the generators can do", () => {
    expect(page).toContain("Skipped: dtm: go is not installed");
    expect(page).toContain("wrk -t1 -c64 100,000");
  });
});
