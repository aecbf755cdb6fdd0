import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baselineSchema } from "./check.ts";
import { entryOf, type Results } from "./results.ts";

const MAIN = fileURLToPath(new URL("../dist/bench/main.js", import.meta.url));
let folder = "";

const results = (name: string, ratio: number): Results => ({
  machine: { cpu: "a CPU", cores: 2, memoryBytes: 1, system: "Linux", loadAtStart: 0 },
  versions: {},
  command: "npm run bench",
  at: "2026-01-01T00:00:00.000Z",
  seconds: 1,
  runs: 1,
  tookSeconds: 1,
  generators: {},
  scenarios: { [name]: entryOf({ what: "", unit: "things", perSecond: 1, referencePerSecond: 1, ratio, generator: "" }) },
  skipped: [],
  broken: [],
});

const bench = (args: readonly string[]): Promise<{ readonly code: number; readonly out: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out: out + err }),
    );
  });

/** Lets the program judge a ratio of the committed baseline's first entry. @param of what the baseline states is turned into */
const checked = async (of: (ratio: number, spread: number) => number): Promise<{ readonly code: number; readonly out: string }> => {
  const { scenarios } = baselineSchema.parse(JSON.parse(await readFile(new URL("baseline.json", import.meta.url), "utf8")));
  const [name = "", stated = { ratio: 0, spread: 0 }] = Object.entries(scenarios)[0] ?? [];
  const file = join(folder, "results.json");
  await writeFile(file, JSON.stringify(results(name, of(stated.ratio, stated.spread))));
  return bench(["--from", file, "--check"]);
};

describe("npm run bench -- --check", () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "doorbuster-bench-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("exits 0 where the committed baseline holds", async () => {
    const { code, out } = await checked((ratio) => ratio);
    expect(out).toMatch(/^holds /m);
    expect(code).toBe(0);
  });

  it("exits 1 for a regression beyond the stated spread", async () => {
    const { code, out } = await checked((ratio, spread) => ratio * (1 - spread) * 0.99);
    expect(out).toMatch(/^WORSE /m);
    expect(code).toBe(1);
  });
});

describe("npm run bench -- --scenario", () => {
  it("names what there is where it knows no such scenario", async () => {
    const { code, out } = await bench(["--scenario", "nothing"]);
    expect(out).toMatch(/no scenario nothing; there are .*refuse\.soldOut.*peer\.postgres/);
    expect(code).toBe(1);
  });
});
