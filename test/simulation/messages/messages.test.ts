import { expect, it } from "vitest";
import { useCheapAbort } from "../kernel/abort.ts";
import type { MessageRules } from "./rules.ts";
import { MessageWorld } from "./world.ts";

const SIDE_BY_SIDE = 16;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs seeds until all have run, or one has broken a promise where that is enough. */
const runSeeds = async (
  count: number,
  rules: Partial<MessageRules> = {},
  untilBroken = false,
): Promise<readonly [number, MessageWorld][]> => {
  useCheapAbort();
  const done: [number, MessageWorld][] = [];
  let running: [number, MessageWorld][] = [];
  let next = 1;
  for (;;) {
    while (running.length < SIDE_BY_SIDE && next <= count) {
      running.push([next, new MessageWorld(next, rules)]);
      next += 1;
    }
    if (running.length === 0) return done;
    await turn();
    const going = running.filter(([, world]) => world.step());
    for (const one of running) if (!going.includes(one)) done.push(one);
    running = going;
    if (untilBroken && done.some(([, world]) => world.violations.length > 0)) return done;
  }
};

it("keeps every promise of the messages, whatever crashes, pauses or is cut off", async () => {
  const worlds = await runSeeds(400);
  const broken = worlds.filter(([, { violations }]) => violations.length > 0).map(([seed, { violations }]) => ({ seed, violations }));
  expect(broken).toEqual([]);
  const struck = new Set(worlds.flatMap(([, { faults }]) => Array.from(faults.keys())));
  for (const fault of ["crash", "pause", "cut", "redis restart", "trap crash", "trap pause", "month", "answer lost", "call late"])
    expect(struck).toContain(fault);
  for (const told of ["told submitted", "told failed"]) expect(struck).toContain(told);
}, 300_000);

it("makes the same schedule of the same seed", async () => {
  const traces = async (): Promise<readonly string[]> =>
    (await runSeeds(30)).map(([seed, { kernel }]) => `${seed} ${kernel.hash} ${kernel.steps}`).toSorted();
  expect(await traces()).toEqual(await traces());
}, 120_000);

/** Those that few seeds notice; the others are switched by hand. */
const MUTATIONS: readonly (readonly [rule: keyof MessageRules, kinds: readonly string[]])[] = [
  ["barrierFirst", ["TWO_WAYS", "WRONG_END", "TOLD", "UNITS"]],
  ["failureBars", ["WRONG_END", "TOLD", "UNITS"]],
  ["holds", ["STRANDED"]],
  ["minds", ["LEASE"]],
  ["tellsPlacements", ["TWO_RECORDS"]],
];

it.each(MUTATIONS)(
  "notices when %s is switched off",
  async (rule, kinds) => {
    const worlds = await runSeeds(300, { [rule]: false }, true);
    const found = worlds.flatMap(([, { violations }]) => violations.map(({ kind }) => kind));
    expect(found.length).toBeGreaterThan(0);
    expect(kinds).toContain(found[0]);
  },
  300_000,
);
