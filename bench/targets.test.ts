import { describe, expect, it } from "vitest";
import { SCENARIOS } from "./plan.ts";
import { entryOf } from "./results.ts";
import { judgeTargets, TARGETS, targetText } from "./targets.ts";

const entry = (part: Partial<ReturnType<typeof entryOf>>) => entryOf({ what: "", unit: "", perSecond: 0, generator: "", ...part });

const ratio = ({ ratio }: ReturnType<typeof entryOf>): number | null => ratio;

describe("targets", () => {
  it("are about entries that the bench gives", () => {
    const entries = SCENARIOS.flatMap((scenario) => scenario.entries);
    for (const { entry: name } of TARGETS.flatMap(({ measures }) => measures)) expect(entries).toContain(name);
  });

  it("are reached on the right side of their bound, and on it", () => {
    const reached = (part: Parameters<typeof entry>[0]) =>
      judgeTargets({ orders: entry(part) }).flatMap(({ measures }) => measures.map(({ isReached }) => isReached));
    expect(reached({ perSecond: 20_000, p99Ms: 100.5 })).toEqual([true, false]);
    expect(reached({ perSecond: 19_999, p99Ms: 100 })).toEqual([false, true]);
  });

  it("are said with what was measured beside them", () => {
    const [row] = judgeTargets({ "decide.always": entry({ ratio: 0.471 }) });
    const [measure] = row?.measures ?? [];
    expect(row !== undefined && measure !== undefined && targetText(row, measure)).toMatch(/: 0\.47, target ≥ 0\.50$/);
  });

  it("say what stands in the way only where they are missed", () => {
    const measure = { entry: "a", name: "", of: ratio, bound: "at least", value: 2, unit: "times", limit: "physics" } as const;
    const said = (value: number): string[] =>
      judgeTargets({ a: entry({ ratio: value }) }, [{ what: "a thing", measures: [measure] }]).flatMap((row) =>
        row.measures.map((judged) => targetText(row, judged)),
      );
    expect(said(1)).toEqual(["a thing: 1x, target ≥ 2x (physics)"]);
    expect(said(2)).toEqual(["a thing: 2x, target ≥ 2x"]);
  });

  it("show a trace less than nothing as nothing", () => {
    const [row] = judgeTargets({ crowd: entry({ numbers: { redisBytesPerRefusedBuyer: -0 } }) });
    expect(row?.measures.map(({ measured, isReached }) => [measured, isReached])).toEqual([["0 B", true]]);
  });

  it("say nothing about what was not measured", () => {
    expect(judgeTargets({ "decide.always": entry({}), "scale.4": entry({}) })).toEqual([]);
  });
});
