import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MOST_VIOLATIONS } from "./violations.ts";

/** Compiled: `npm run build` first. */
const at = (file: string): string => JSON.stringify(new URL(`../../dist/${file}`, import.meta.url).href);

/** A program of one process: `turn` is done with what it knows, a violation at a place, and the process's end. */
const program = (turn: string): string => `
import cluster from "node:cluster";
import { guardProcess, runProgram } from ${at("coordinator/program/index.js")};
import { InvariantViolation } from ${at("lua/core/invariant.js")};
await runProgram("example", [], async ({ log, stop, violations }) => {
  if (cluster.isPrimary) return await guardProcess({ log, stop });
  const { known } = JSON.parse(process.env.KNOWN_VIOLATIONS);
  const { before, onViolation } = violations();
  const find = (place) => onViolation(new InvariantViolation("stock", place, "found by " + process.pid));
  console.log("began knowing " + known.length + ", told " + (before.stock ?? 0));
  ${turn}
});
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "violations-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = async (turn: string): Promise<{ readonly code: number | null; readonly killer: string | null; readonly output: string }> => {
  const file = join(folder, "program.mjs");
  await writeFile(file, program(turn));
  const child = spawn(process.execPath, [file], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", DOORBUSTER_LOG_LEVEL: "info" },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += String(text)));
  const [code, killer] = await new Promise<[number | null, string | null]>((resolve) => child.once("close", (...end) => resolve(end)));
  return { code, killer, output };
};
const begun = (output: string): readonly string[] => output.match(/began knowing .*/g) ?? [];
const times = (output: string, text: string): number => output.split(text).length - 1;

describe("a process that finds an invariant violated", { timeout: 120_000 }, () => {
  it("ends with 70, and the next, which knows it, goes on, whatever the text says", async () => {
    const { code, output } = await run('find("{s0}"); setTimeout(() => process.exit(0), known.length > 0 ? 0 : 60_000);');
    expect(begun(output)).toEqual(["began knowing 0, told 0", "began knowing 1, told 1"]);
    expect(code).toBe(0);
    expect(times(output, '"level":60')).toBe(1);
    expect(output).toMatch(/"level":60,.*"alert":true,.*"message":"INVARIANT stock at \{s0\}: found by \d+"/);
    expect(times(output, '"code":70')).toBe(1);
    expect(output).toMatch(/"level":50,.*"alert":true,.*violated again/);
  });

  it("ends so for each place, but not for more places than there is memory that can be wrong", async () => {
    const { code, output } = await run(
      `find("place " + known.length); setTimeout(() => process.exit(0), known.length === ${MOST_VIOLATIONS} ? 0 : 60_000);`,
    );
    expect(begun(output)).toHaveLength(MOST_VIOLATIONS + 1);
    expect(code).toBe(0);
    expect(times(output, '"code":70')).toBe(MOST_VIOLATIONS);
  });

  it("tells its primary of what it finds again, too", async () => {
    const again = 'for (const _ of "123") find("{s0}"); setTimeout(() => find("other"), 1_000);';
    const { output } = await run(
      `if (known.length === 2) process.exit(0); if (known.length === 0) find("{s0}"); else { ${again} } setTimeout(() => {}, 60_000);`,
    );
    expect(begun(output).at(-1)).toBe("began knowing 2, told 5");
  });
});

describe("a process that ends for another reason", { timeout: 60_000 }, () => {
  it.each([
    ["process.exit(3)", 3, null],
    ['process.kill(process.pid, "SIGKILL"); await new Promise(() => {});', null, "SIGKILL"],
    ['throw new Error("a fault")', 70, null],
  ])("%s is not replaced: its primary ends in the same way", async (turn, code, killer) => {
    const run1 = await run(`setTimeout(() => {}, 60_000); ${turn}`);
    expect(begun(run1.output)).toHaveLength(1);
    expect([run1.code, run1.killer]).toEqual([code, killer]);
  });
});
