import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, until } from "../harness/index.ts";
import { findFaketime } from "../harness/faketime.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";

/**
 * A wall clock that jumps half an hour ahead, and then an hour back, in the middle of a sale. Not that of redis-server:
 * libfaketime 0.9.10 ends it at its start, because it clashes with jemalloc (wolfcw/libfaketime issue 130).
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";

const faketime = await findFaketime();
if ("why" in faketime) process.stdout.write(`clock jumps: skipped, there is no libfaketime here: ${faketime.why}\n`);
const library = "library" in faketime ? faketime.library : "";

const HOUR_MS = 3_600_000;
const HALF_AN_HOUR_S = 1_800;
const BUYERS_MEANWHILE = 40;
const TWO_DAYS_S = 2 * 86_400;
const WEEK_MS = 7 * 86_400_000;

describe.skipIf(library === "")("a clock jumps", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "clock-test-"));
  const shift = join(folder, "shift");
  const shifted = new Set<string>();
  let world: CrashWorld;

  /** Of all that were started with a shifted clock; they look at the file once a second. */
  const jumpTo = (seconds: number): void => writeFileSync(shift, `${seconds < 0 ? "" : "+"}${seconds}\n`);

  beforeAll(async () => {
    jumpTo(0);
    world = await CrashWorld.start({
      launchEnvironment: (part) =>
        shifted.has(part)
          ? {
              LD_PRELOAD: library,
              FAKETIME_TIMESTAMP_FILE: shift,
              FAKETIME_CACHE_DURATION: "1",
              // Only the wall clock can jump: nothing sets a monotonic one.
              FAKETIME_DONT_FAKE_MONOTONIC: "1",
              DONT_FAKE_MONOTONIC: "1",
            }
          : {},
    });
  }, 180_000);
  afterAll(async () => {
    await world?.close();
    rmSync(folder, { recursive: true });
  });

  /** All its processes anew, with the clock that is meant for it. */
  const restart = async (part: string): Promise<void> => {
    const before = world.stack.pid(part);
    world.stack.kill(part);
    await until(() => ![before, undefined].includes(world.stack.pid(part)), "a new process", 60_000);
    await world.stack.ready();
  };

  const rows: readonly (readonly [part: string])[] = [["gateway"], ["coordinator"], ["workers"]];

  it.each(isWhole ? rows : rows.filter(([part]) => part === "coordinator"))("of the %s", async (part) => {
    shifted.clear();
    shifted.add(part);
    await restart(part);
    const now = Date.now();
    const window = { opensAtMs: now - 2 * HOUR_MS, closesAtMs: now + 2 * HOUR_MS };
    const sale = await LiveSale.open(world, `clock-${part}`, window);
    for (const seconds of [HALF_AN_HOUR_S, -HALF_AN_HOUR_S, 0]) {
      jumpTo(seconds);
      const upto = sale.counts.won + BUYERS_MEANWHILE;
      await until(() => sale.counts.won >= upto, `buyers to win with a clock that is ${seconds} s off`, 120_000);
    }
    expect(await sale.end()).toEqual([]);
  });

  it("a request of day one, word for word again on day three, after the sale: the first answer", async () => {
    shifted.clear();
    jumpTo(0);
    const now = Date.now();
    await world.openSale("day-three", 5, { opensAtMs: now - HOUR_MS, closesAtMs: now + HOUR_MS });
    const url = world.urlOf("day-three", "early", now + WEEK_MS);
    const late = world.urlOf("day-three", "late", now + WEEK_MS);
    const first = await world.buyAt(url);
    expect(await world.final("day-three", "early")).toMatchObject({ code: "confirmed", orderId: first.orderId });
    // Redis judges the window by its own clock, which cannot be shifted: an operator ends the sale.
    await world.admin("/sales/day-three/state", { state: "closed" });
    for (const [part] of rows) shifted.add(part);
    jumpTo(TWO_DAYS_S);
    for (const [part] of rows) await restart(part);
    await until(async () => (await world.once("POST", late)).code === "closed", "the sale to be over", 60_000);
    expect(await world.once("POST", url)).toMatchObject({ status: 200, code: "confirmed", orderId: first.orderId });
    expect(await world.once("GET", url)).toMatchObject({ code: "confirmed", orderId: first.orderId });
    expect(await world.auditAtRest("day-three")).toMatchObject({ free: 4, sold: 1 });
  });
});
