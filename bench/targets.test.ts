import { describe, expect, it } from "vitest";
import { SCENARIOS } from "./plan.ts";
import { entryOf } from "./results.ts";
import { judgeTargets, TARGETS } from "./targets.ts";

const entry = (part: Partial<ReturnType<typeof entryOf>>) => entryOf({ what: "", unit: "", perSecond: 0, generator: "", ...part });

describe("targets", () => {
  it("are about entries that the bench gives", () => {
    const entries = SCENARIOS.flatMap((scenario) => scenario.entries);
    for (const target of TARGETS) expect(entries).toContain(target.entry);
  });

  it("are reached on the right side of their bound", () => {
    const judged = judgeTargets({ orders: entry({ perSecond: 20_000, p99Ms: 100.5 }) });
    expect(judged.map(({ isReached }) => isReached)).toEqual([true, false]);
    expect(judged[1]?.text).toBe("orders: 100.5 ms to confirmed, p99 at half of the peak, target at most 100");
  });

  it("say nothing about what was not measured", () => {
    expect(judgeTargets({ "decide.always": entry({}), "scale.4": entry({}) })).toEqual([]);
  });
});
