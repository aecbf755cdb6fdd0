import { expect, it } from "vitest";
import { expand } from "./options.ts";
import { runSchedules } from "./runner.ts";
import type { Result } from "./schedule.ts";

const runSeeds = async (from: number, count: number): Promise<Result[]> => {
  const results: Result[] = [];
  let seed = from;
  await runSchedules(() => (seed < from + count ? expand(seed++) : undefined), { done: (result) => results.push(result) });
  return results.sort((a, b) => a.options.seed - b.options.seed);
};

it("keeps every promise under two thousand seeds", async () => {
  const results = await runSeeds(1, 2_000);
  const broken = results.filter(({ violations }) => violations.length > 0).map(({ options, violations }) => ({ options, violations }));
  expect(broken).toEqual([]);
  // a run in which nothing happened would prove nothing
  const struck = new Set<string>();
  for (const { faults } of results) for (const fault of faults.keys()) struck.add(fault);
  for (const fault of ["crash", "pause", "cut", "redis restart", "redis failover", "broker restart", "postgres restart", "answer lost"])
    expect(struck).toContain(fault);
  for (const told of ["told reserved", "told confirmed", "told sold_out", "told recovering"]) expect(struck).toContain(told);
}, 300_000);

it("makes the same schedule of the same seed", async () => {
  const traces = (results: readonly Result[]): string[] => results.map(({ options, hash, steps }) => `${options.seed} ${hash} ${steps}`);
  expect(traces(await runSeeds(1, 60))).toEqual(traces(await runSeeds(1, 60)));
});
