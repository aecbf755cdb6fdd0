import Table from "cli-table3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Draw, environment, seedOf } from "../harness/index.ts";
import { crashPoints, LEFT_OUT, Stimulus, type CrashPoint } from "./points.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";
import { stimuli } from "./stimuli.ts";

/**
 * P1 to P6 while a program dies before or after one of its effects, in the middle of a sale. One stack for all points.
 * `npm run test:crash` goes through all of them, `npm test` through a few that the commit chooses.
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";
/** Parts of points' names, with commas between, to look at some. */
const only = environment["CRASH_POINTS"]?.split(",");

/** Where most was ever lost: after an effect, before anybody knows of it. */
const ALWAYS: ReadonlySet<string> = new Set(["buy.reserve:after", "log.append:after", "apply.transaction:after"]);
const CHOSEN = 2;

const chosen = (): readonly CrashPoint[] => {
  if (only !== undefined) return crashPoints.filter(({ point, program }) => only.some((part) => `${program} ${point}`.includes(part)));
  if (isWhole) return crashPoints;
  const always = crashPoints.filter(({ point }) => ALWAYS.has(point));
  const draw = new Draw(seedOf("CRASH_SEED"));
  // Quick ones: the others wait for a recovery, a message or an operator.
  const others = crashPoints.filter(
    ({ point, stimulus }) => !ALWAYS.has(point) && stimulus === Stimulus.sell && !point.includes("transfer"),
  );
  return [...always, ...Array.from({ length: CHOSEN }, () => draw.pick(others))];
};

const table = new Table({ head: ["program", "point", "while", "reached", "result"], style: { head: [], border: [] } });
let world: CrashWorld;
beforeAll(async () => {
  world = await CrashWorld.start();
}, 180_000);
afterAll(async () => {
  process.stdout.write(`${table.toString()}\n`);
  await world?.close();
});

let number = 0;
const crash = async (point: CrashPoint): Promise<{ readonly reached: boolean; readonly wrong: readonly string[] }> => {
  const before = await world.reached(point);
  const sale = await LiveSale.open(world, `crash-${number++}`);
  const over = new AbortController();
  world.arm(point);
  const [reached, sequel] = await Promise.all([
    world.untilReached(point, before).finally(() => over.abort()),
    stimuli[point.stimulus]({ world, sale, reached: over.signal }),
  ]);
  const wrong = [...(await sale.end())];
  if (wrong.length === 0) wrong.push(...(await sequel().catch((error: Error) => [error.message])));
  return { reached, wrong };
};

describe("a program dies at a point in the middle of a sale", { timeout: 300_000 }, () => {
  it.each(chosen().map((point) => [`${point.program} ${point.point} (${point.stimulus})`, point] as const))("%s", async (_name, point) => {
    const { reached, wrong } = await crash(point);
    table.push([point.program, point.point, point.stimulus, reached ? "yes" : "NO", wrong.length === 0 ? "exact" : wrong.join("\n")]);
    expect(wrong).toEqual([]);
    expect(reached, `${point.point} was reached`).toBe(true);
  });

  it.runIf(isWhole)("has a row for every call of a port that the programs made meanwhile", async () => {
    const rows = new Set(crashPoints.map(({ program, point }) => `${program} ${point.replace(/:\w+$/, "")}`));
    const made = await world.callsMade();
    expect(made.length).toBeGreaterThan(0);
    expect(made.filter((call) => !rows.has(call) && !(call.replace(/^\w+ /, "") in LEFT_OUT))).toEqual([]);
  });
});
