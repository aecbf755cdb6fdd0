import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { environment, startRedis, until } from "../../harness/index.ts";
import { startCoordinator, startStores } from "../../harness/messages/coordinator.ts";

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL("../dtm-client", import.meta.url));
const DOORBUSTER = fileURLToPath(new URL("../../../dist/deploy/cli/main.js", import.meta.url));
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

const COURSES = 11;

describe("dtm's own Go client, unmodified", { timeout: BUILD_MOST_MS * 2 }, () => {
  let folder: string;
  let program: string | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "dtm-client-"));
    // Postgres runs as another user, below this folder
    await chmod(folder, 0o711);
    program = await build(folder);
  }, BUILD_MOST_MS);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Every course of the client, at a coordinator's address. */
  const expectCourses = async (context: TestContext, coordinator: string, redisPort: number): Promise<void> => {
    if (program === undefined) return context.skip("no Go, or its module proxy is out of reach");
    const { stdout } = await run(program, [`${coordinator}/api/dtmsvr`, `127.0.0.1:${redisPort}`]).catch(
      (error: unknown) => error as { stdout: string },
    );
    const lines = stdout.trim().split("\n");
    expect(lines.filter((line) => !line.startsWith("ok "))).toEqual([]);
    expect(lines).toHaveLength(COURSES);
    return undefined;
  };

  it("runs its message, barrier, query-back and topic courses against two shards", async (context) => {
    const stores = await startStores(2);
    const coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "300" });
    try {
      await expectCourses(context, coordinator.url, stores.redis[0]?.port ?? 0);
    } finally {
      await coordinator.stop();
      await stores.stop();
    }
  });

  it("runs them against what `npm start -- --ready-file` gives, with nothing changed but the address", async (context) => {
    if (program === undefined) return context.skip("no Go, or its module proxy is out of reach");
    const file = join(folder, "ready.json");
    const stock = await startRedis();
    const launcher = spawn(process.execPath, [DOORBUSTER, "start", "--stock", "1", "--shards", "1", "--ready-file", file], {
      env: { ...environment, DOORBUSTER_GATEWAY_PROCESSES: "1", DOORBUSTER_WORKER_PROCESSES: "1", TMPDIR: folder },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const ended = once(launcher, "exit");
    try {
      const isThere = (): Promise<boolean> =>
        stat(file).then(
          () => true,
          () => false,
        );
      await until(async () => launcher.exitCode !== null || (await isThere()), "the ready file", 120_000);
      const { coordinator } = JSON.parse(await readFile(file, "utf8")) as { coordinator: string };
      await expectCourses(context, coordinator, stock.port);
    } finally {
      launcher.kill("SIGTERM");
      await ended;
      await stock.stop();
    }
    return undefined;
  });
});
