import { describe, expect, it } from "vitest";
import type { CoordinatorPart } from "../../coordinator/compose.ts";
import { CALM } from "./kernel/weather.ts";
import { COORDINATOR_PART_MUTATIONS, MISSED, withoutPart } from "./mutations/coordinator-composition.ts";
import { hunt } from "./mutations/run.ts";
import { FaultKind, type Options } from "./options.ts";
import { runSchedule } from "./runner.ts";

/** Parts that no promise misses only make a coordinator quick: what they are for is how long things take, in simulated time. */

const STRIKES_AT_MS = 800;
const DOWN_MS = 5_000;
const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);
const LONG_MS = 120_000;

/** One shard, one coordinator, many buyers of a sale that does not sell out. */
const optionsOf = (seed: number, more: Partial<Options>): Options => ({
  seed,
  shards: 1,
  gateways: 1,
  workers: 1,
  coordinators: 1,
  sales: [{ id: "sale0", units: [400], limit: 1, opensAtMs: 0 }],
  buyers: 300,
  acts: 400,
  added: 0,
  moves: 0,
  mover: true,
  chaosMs: 7_000,
  leaseMs: 3_000,
  openMs: 5_000,
  sweepMs: 1_000,
  soldOut: true,
  weather: CALM,
  daysMs: 0,
  faults: [],
  ...more,
});

const restart = (kind: FaultKind): Options["faults"] => [
  { kind, atMs: STRIKES_AT_MS, trap: undefined, shard: 0, process: "", target: "", ms: DOWN_MS, lost: 0 },
];

interface Line {
  readonly atMs: number;
  readonly text: string;
}

/** What happens in a schedule, line by line, with all parts or without one. */
const trace = async (options: Options, left?: CoordinatorPart): Promise<readonly Line[]> => {
  const lines: Line[] = [];
  const twins = left === undefined ? undefined : () => withoutPart(left);
  const { violations } = await runSchedule(options, twins, (atMs, text) => lines.push({ atMs, text }));
  expect(violations).toEqual([]);
  return lines;
};

/** The longest that anything of this kind takes after the end of the fault. */
const slowest = async (more: Partial<Options>, what: RegExp, left?: CoordinatorPart): Promise<number> => {
  let most = 0;
  for (const seed of SEEDS) {
    const backAtMs = STRIKES_AT_MS + DOWN_MS;
    const first = (await trace(optionsOf(seed, more), left)).find(({ atMs, text }) => atMs >= backAtMs && what.test(text));
    most = Math.max(most, (first?.atMs ?? Number.POSITIVE_INFINITY) - backAtMs);
  }
  return most;
};

/** How long an entry lies in the outbox until it is appended to the log, on average. */
const meanWaitMs = async (left?: CoordinatorPart): Promise<number> => {
  let sumMs = 0;
  let count = 0;
  for (const seed of SEEDS) {
    const since = new Map<string, number>();
    for (const { atMs, text } of await trace(optionsOf(seed, { chaosMs: 2_000 }), left)) {
      const seq = /^redis0 1-(\d+) /.exec(text)?.[1];
      if (seq !== undefined) since.set(seq, atMs);
      for (const appended of / append 1: ([\d,]+) /.exec(text)?.[1]?.split(",") ?? []) {
        const sinceMs = since.get(appended);
        if (sinceMs === undefined) continue;
        since.delete(appended);
        sumMs += atMs - sinceMs;
        count += 1;
      }
    }
  }
  return sumMs / count;
};

describe("a part of the coordinator that was left out", () => {
  it.each(COORDINATOR_PART_MUTATIONS.map((one) => [one.name, one] as const))(
    "is missed: %s",
    async (_name, mutation) => {
      expect((await hunt(mutation, 1_000)).caught).toBeDefined();
    },
    LONG_MS,
  );

  it("is missed by a promise or named here", () => {
    const elsewhere = Object.entries(MISSED).flatMap(([part, missed]) => ("elsewhere" in missed ? [part] : []));
    expect(elsewhere).toEqual(["appliedFeed", "brokerWake", "redisWake", "sales"]);
  });

  it(
    "is missed after a restart of the broker: entries are appended within half a second of its return",
    async () => {
      const more = { faults: restart(FaultKind.brokerRestart) };
      expect(await slowest(more, / append \d+:/)).toBeLessThan(500);
      expect(await slowest(more, / append \d+:/, "brokerWake")).toBeGreaterThan(1_000);
    },
    LONG_MS,
  );

  it(
    "is missed after a restart of Redis: a shard whose lease outlasts it opens within half a second of its return",
    async () => {
      const more = { faults: restart(FaultKind.redisRestart), leaseMs: 10_000 };
      expect(await slowest(more, / open \d+ ok/)).toBeLessThan(500);
      expect(await slowest(more, / open \d+ ok/, "redisWake")).toBeGreaterThan(1_000);
    },
    LONG_MS,
  );

  it(
    "is missed in the outbox: entries wait for each other only while a worker is busy",
    async () => {
      const whole = await meanWaitMs();
      expect(whole).toBeLessThan(20);
      expect(await meanWaitMs("appliedFeed")).toBeGreaterThan(whole * 1.25);
    },
    LONG_MS,
  );
});
