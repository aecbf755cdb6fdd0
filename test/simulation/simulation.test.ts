import { expect, it } from "vitest";
import { CASES } from "./cases.ts";
import { MUTATIONS } from "./mutations/pairs.ts";
import { hunt } from "./mutations/run.ts";
import { FULL } from "./mutations/profiles.ts";
import { expand, type Profile } from "./options.ts";
import { runSchedule, runSchedules } from "./runner.ts";
import type { Result } from "./result.ts";

const LONG_MS = 300_000;

const runSeeds = async (from: number, count: number, profile?: Profile): Promise<Result[]> => {
  const results: Result[] = [];
  let seed = from;
  await runSchedules(() => (seed < from + count ? expand(seed++, profile) : undefined), { done: (result) => results.push(result) });
  return results.sort((a, b) => a.options.seed - b.options.seed);
};

it(
  "keeps every promise under a thousand seeds",
  async () => {
    const results = await runSeeds(1, 1_000);
    const broken = results.filter(({ violations }) => violations.length > 0).map(({ options, violations }) => ({ options, violations }));
    expect(broken).toEqual([]);
    // a run in which nothing happened would prove nothing
    const struck = new Set<string>();
    for (const { faults } of results) for (const fault of faults.keys()) struck.add(fault);
    for (const fault of ["crash", "pause", "cut", "redis restart", "redis failover", "broker restart", "postgres restart", "answer lost"])
      expect(struck).toContain(fault);
    for (const told of ["told reserved", "told confirmed", "told sold_out", "told recovering"]) expect(struck).toContain(told);
  },
  LONG_MS,
);

it("keeps every promise while servers are full, and everything comes to rest when there is room", async () => {
  const results = await runSeeds(1, 300, FULL);
  expect(results.flatMap(({ options, violations }) => (violations.length === 0 ? [] : [{ options, violations }]))).toEqual([]);
  const struck = new Set(results.flatMap(({ faults }) => Array.from(faults.keys())));
  for (const what of ["redis full", "told busy", "told reserved"]) expect(struck).toContain(what);
}, 60_000);

it("makes the same schedule of the same seed", async () => {
  const traces = (results: readonly Result[]): string[] => results.map(({ options, hash, steps }) => `${options.seed} ${hash} ${steps}`);
  const first = traces(await runSeeds(1, 40));
  expect(traces(await runSeeds(1, 40))).toEqual(first);
  expect(new Set(first).size).toBe(40);
});

it.each(CASES.map((one) => [one.name, one] as const))("holds where it once broke: %s", async (_name, { options }) => {
  expect((await runSchedule(options)).violations).toEqual([]);
});

/** Rules whose absence shows at once; `npm run simulate -- --mutations` breaks all of them. */
const QUICK = [
  "repeat before stock",
  "buyers' field with epoch",
  "latch by replication id",
  "grant once",
  "repeats skipped",
  "epoch fence",
  "flush",
  "stock withdraws the flag",
  "sold out: sent grants",
  "fenced last step + permission's end",
  "forgotten by the broker",
  "gap heard + forgotten by the broker",
  "attempt in Redis + keep's last id",
];

it.each(QUICK)(
  "notices that a rule is broken: %s",
  async (name) => {
    const mutation = MUTATIONS.find((one) => one.name === name);
    if (mutation === undefined) throw new Error(`no mutation ${name}`);
    expect((await hunt(mutation, 400)).caught).toBeDefined();
  },
  LONG_MS,
);
