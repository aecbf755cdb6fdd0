import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, until } from "../harness/index.ts";
import { CrashRig, LiveSale } from "./rig.ts";

/**
 * A wall clock that jumps half an hour ahead, and then an hour back, in the middle of a sale. Not that of redis-server:
 * libfaketime 0.9.10 ends it at its start, because it clashes with jemalloc (wolfcw/libfaketime issue 130).
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";

/** libfaketime, as Debian's package has it for each processor. */
const LIBRARY = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
  .map((machine) => `/usr/lib/${machine}/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));
if (LIBRARY === undefined) process.stdout.write("clock jumps: skipped, libfaketime is not installed here\n");

const HOUR_MS = 3_600_000;
const HALF_AN_HOUR_S = 1_800;
const BUYERS_MEANWHILE = 40;

describe.skipIf(LIBRARY === undefined)("a clock jumps", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "clock-test-"));
  const shift = join(folder, "shift");
  const shifted = new Set<string>();
  let rig: CrashRig;

  /** Of all that were started with a shifted clock; they look at the file once a second. */
  const jumpTo = (seconds: number): void => writeFileSync(shift, `${seconds < 0 ? "" : "+"}${seconds}\n`);

  beforeAll(async () => {
    jumpTo(0);
    rig = await CrashRig.open({
      launchEnvironment: (part) =>
        shifted.has(part)
          ? {
              LD_PRELOAD: LIBRARY,
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
    await rig?.close();
    rmSync(folder, { recursive: true });
  });

  const rows: readonly (readonly [part: string])[] = [["gateway"], ["coordinator"], ["workers"]];

  it.each(isWhole ? rows : rows.filter(([part]) => part === "coordinator"))("of the %s", async (part) => {
    shifted.clear();
    shifted.add(part);
    const before = rig.fair.stack.pid(part);
    rig.fair.stack.kill(part);
    await until(() => ![before, undefined].includes(rig.fair.stack.pid(part)), "a new process", 60_000);
    await rig.fair.stack.ready();
    const now = Date.now();
    const window = { opensAtMs: now - 2 * HOUR_MS, closesAtMs: now + 2 * HOUR_MS };
    const sale = await LiveSale.open(rig.fair, `clock-${part}`, window);
    for (const seconds of [HALF_AN_HOUR_S, -HALF_AN_HOUR_S, 0]) {
      jumpTo(seconds);
      const upto = sale.counts.won + BUYERS_MEANWHILE;
      await until(() => sale.counts.won >= upto, `buyers to win with a clock that is ${seconds} s off`, 120_000);
    }
    expect(await sale.end()).toEqual([]);
  });
});
