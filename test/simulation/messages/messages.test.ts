import { expect, it } from "vitest";
import { MUTATIONS } from "../mutations/pairs.ts";
import { hunt } from "../mutations/run.ts";
import type { Result } from "../result.ts";
import { runSchedules } from "../runner.ts";
import { expandMessages } from "./options.ts";

const runSeeds = async (count: number): Promise<Result[]> => {
  const results: Result[] = [];
  let seed = 1;
  await runSchedules(() => (seed <= count ? expandMessages(seed++) : undefined), { done: (result) => results.push(result) });
  return results;
};

it("keeps every promise of the messages, whatever crashes, pauses or is cut off", async () => {
  const results = await runSeeds(400);
  const broken = results.filter(({ violations }) => violations.length > 0).map(({ options, violations }) => ({ options, violations }));
  expect(broken).toEqual([]);
  const struck = new Set(results.flatMap(({ faults }) => Array.from(faults.keys())));
  for (const fault of ["crash", "pause", "cut", "redis restart", "trap crash", "trap pause", "days"]) expect(struck).toContain(fault);
  for (const fault of ["answer lost", "call late", "call days late", "call repeated"]) expect(struck).toContain(fault);
  for (const told of ["told submitted", "told failed"]) expect(struck).toContain(told);
}, 300_000);

it("makes the same schedule of the same seed", async () => {
  const traces = async (): Promise<readonly string[]> =>
    (await runSeeds(30)).map(({ options, hash, steps }) => `${options.seed} ${hash} ${steps}`);
  expect(await traces()).toEqual(await traces());
}, 120_000);

/** What each may break; `npm run simulate -- --mutations` breaks all of them. */
const QUICK: readonly (readonly [name: string, kinds: readonly string[]])[] = [
  ["messages: barrier before stock", ["TWO_WAYS", "WRONG_END", "TOLD", "UNITS"]],
  ["messages: failure bars", ["WRONG_END", "TOLD", "UNITS"]],
  ["messages: claimed is due again", ["STRANDED"]],
  ["messages: lease for delivery", ["LEASE"]],
  ["messages: placements are told", ["TWO_RECORDS"]],
];

it.each(QUICK)(
  "notices that a rule is broken: %s",
  async (name, kinds) => {
    const mutation = MUTATIONS.find((one) => one.name === name);
    if (mutation === undefined) throw new Error(`no mutation ${name}`);
    expect(kinds).toContain((await hunt(mutation, 300)).caught?.violation.kind);
  },
  300_000,
);
