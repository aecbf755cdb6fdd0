import { execFile } from "node:child_process";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { environment } from "../../test/harness/index.ts";
import { readReadyFile } from "./ready-file.ts";

const MAIN = fileURLToPath(new URL("../../dist/deploy/cli/main.js", import.meta.url));

const work = await mkdtemp(join(tmpdir(), "start-test-"));
afterAll(() => rm(work, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const run = (args: readonly string[], changes: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { env: { ...environment, ...changes } }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });

describe("doorbuster start", () => {
  it("says what to install where a server is missing and cannot be installed", async () => {
    const { code, stderr } = await run(["start"], { PATH: work, REDIS_SHARDS: "", NATS_URL: "", DATABASE_URL: "" });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^doorbuster: servers are missing:\n {2}- redis-server: not found\n/);
    expect(stderr).toMatch(/apt-get install redis-server/);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  it("refuses wrong options before it starts anything", async () => {
    for (const [option, value] of [
      ["--shards", "0"],
      ["--stock", "many"],
      ["--stock", "1.5"],
    ] as const) {
      const { code, stderr } = await run(["start", option, value]);
      expect(code).toBe(1);
      expect(stderr).toContain(`option '${option} <n>' argument '${value}' is invalid`);
    }
  });

  it("removes a ready file that an earlier run left, also when it cannot start", async () => {
    const file = join(work, "ready.json");
    await writeFile(file, "{}");
    await run(["start", "--ready-file", file], { PATH: work, REDIS_SHARDS: "", NATS_URL: "", DATABASE_URL: "" });
    await expect(access(file)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("a ready file", () => {
  it("that is missing, broken or something else is named in the error", async () => {
    await expect(readReadyFile(join(work, "none.json"))).rejects.toThrow(/none\.json cannot be read \(ENOENT\); is a stack/);
    await writeFile(join(work, "broken.json"), "{");
    await expect(readReadyFile(join(work, "broken.json"))).rejects.toThrow(/broken\.json is not a ready file/);
    await writeFile(join(work, "other.json"), "{}");
    await expect(readReadyFile(join(work, "other.json"))).rejects.toThrow(/other\.json is not a ready file:\n(.*\n)*.*adminToken/);
  });
});
