import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { startCoordinator, startStores } from "./coordinator.ts";

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL("../dtm-client", import.meta.url));
const BUILD_MOST_MS = 300_000;

/** Builds dtm's client with our courses; undefined where that cannot be done, with a line that says why. */
const build = async (folder: string): Promise<string | undefined> => {
  const program = join(folder, "dtm-client");
  try {
    await run("go", ["build", "-o", program, "."], { cwd: SOURCE, timeout: BUILD_MOST_MS });
    return program;
  } catch (error) {
    const said = (error as { stderr?: string }).stderr ?? "";
    // a fault of our own program must fail the test, not skip it
    if (said.includes("main.go:")) throw error;
    const why = (error as NodeJS.ErrnoException).code === "ENOENT" ? "go is not installed" : said;
    process.stderr.write(`SKIPPED dtm's Go client against our coordinator: ${why}\n`);
    return undefined;
  }
};

describe("dtm's own Go client, unmodified", () => {
  it(
    "runs its message, barrier, query-back and topic courses against our coordinator",
    async (context) => {
      const folder = await mkdtemp(join(tmpdir(), "dtm-client-"));
      try {
        const program = await build(folder);
        if (program === undefined) return context.skip("no Go, or its module proxy is out of reach");
        const stores = await startStores(2);
        const coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "300" });
        try {
          const { stdout } = await run(program, [`${coordinator.url}/api/dtmsvr`, `127.0.0.1:${stores.redis[0]?.port}`]).catch(
            (error: unknown) => error as { stdout: string },
          );
          const lines = stdout.trim().split("\n");
          expect(lines.filter((line) => !line.startsWith("ok "))).toEqual([]);
          expect(lines).toHaveLength(11);
        } finally {
          await coordinator.stop();
          await stores.stop();
        }
        return undefined;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    BUILD_MOST_MS * 2,
  );
});
