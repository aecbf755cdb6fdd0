import { execFile, spawn, type ChildProcess } from "node:child_process";
import { access, chmod, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { readReadyFile, type ReadyFile } from "../../deploy/cli/ready-file.ts";
import { commandLine, environment, isListening, processesOf, until } from "../harness/index.ts";

const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const MAIN = join(DIST, "deploy", "cli", "main.js");

/** Two kinds of programs have one process a core by default: fewer make the start shorter. */
const SMALL = { DOORBUSTER_GATEWAY_PROCESSES: "2", DOORBUSTER_WORKER_PROCESSES: "1" };

let work: string;
let started: ChildProcess | undefined;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), "start-test-"));
  // Postgres runs as another user, below this folder.
  await chmod(work, 0o711);
});
afterEach(() => started?.kill("SIGKILL"));
afterAll(() => rm(work, { recursive: true, force: true }));

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

interface Started {
  readonly launcher: ChildProcess;
  readonly file: string;
  readonly ready: ReadyFile;
  /** what it has printed so far */
  readonly printed: () => string;
}

const start = async (): Promise<Started> => {
  const file = join(work, "ready.json");
  const launcher = spawn(process.execPath, [MAIN, "start", "--stock", "5", "--shards", "1", "--ready-file", file], {
    env: { ...environment, ...SMALL, TMPDIR: work },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  launcher.stdout.on("data", (text: Buffer) => {
    printed += text.toString();
  });
  started = launcher;
  await until(async () => launcher.exitCode !== null || (await exists(file)), "the ready file", 120_000);
  expect(launcher.exitCode).toBeNull();
  return { launcher, file, ready: await readReadyFile(file), printed: () => printed };
};

const exitCode = (launcher: ChildProcess): Promise<number | NodeJS.Signals | null> =>
  new Promise((resolve) => launcher.once("exit", (code, signal) => resolve(code ?? signal)));

const nothingLeft = async (ready: ReadyFile): Promise<boolean> => {
  if ((await processesOf(ready.run)).length > 0 || (await readdir(work)).length > 0) return false;
  const urls = [...ready.redis.map(({ url }) => url), ready.nats.url, ready.postgres.url, ready.gateway, ready.admin, ready.coordinator];
  return (await Promise.all(urls.map(isListening))).every((listening) => !listening);
};

const ticketFor = async (file: string, sale: string, uid: string): Promise<string> => {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, "tickets", "--ready-file", file, "--sale", sale, "--uid", uid]);
  return (JSON.parse(stdout) as { ticket: string }).ticket;
};

describe("npm start", { timeout: 180_000 }, () => {
  it("sells its example sale, says where everything is, and leaves nothing after a SIGTERM", async () => {
    const { launcher, file, ready, printed } = await start();

    // Secrets: nobody else may read it.
    expect((await stat(file)).mode & 0o077).toBe(0);
    expect(ready.redis).toHaveLength(1);
    expect(ready.programs.gateway).toHaveLength(3);
    for (const [program, pids] of Object.entries(ready.programs)) {
      expect(pids.length).toBeGreaterThan(0);
      for (const pid of pids) expect(await commandLine(pid)).toContain(join(DIST, program, "main.js"));
    }
    const marked = await processesOf(ready.run);
    for (const { pid } of [...ready.redis, ready.nats, ready.postgres]) expect(marked).toContain(pid);

    expect((await fetch(`${ready.gateway}/sales/${ready.sale}`)).status).toBe(200);
    const buy = `${ready.gateway}/buy/${await ticketFor(file, ready.sale, "alice")}`;
    const bought = await fetch(buy, { method: "POST" });
    const { orderId } = (await bought.json()) as { orderId: string };
    expect(bought.status).toBe(202);
    const standing = async (): Promise<unknown> => (await fetch(buy)).json();
    await until(async () => ((await standing()) as { code: string }).code === "confirmed", "the order to be confirmed");
    expect(await standing()).toMatchObject({ code: "confirmed", orderId });

    await until(() => /^ {2}curl .*$/m.test(printed()), "the curl that buys");
    const curl = /^ {2}(curl .*)$/m.exec(printed())?.[1] ?? "";
    const { stdout: answer } = await promisify(execFile)("sh", ["-c", curl]);
    expect(answer).toMatch(/^HTTP\/1\.1 (?:201 Created|200 OK)\r\n/);
    expect(answer).toContain(`"orderId":"${orderId}"`);

    launcher.kill("SIGTERM");
    expect(await exitCode(launcher)).toBe(0);
    expect(await nothingLeft(ready)).toBe(true);
  });

  it("keeps its ready file true while processes are replaced, and leaves nothing after its own kill -9", async () => {
    const { launcher, file, ready } = await start();
    const [killed] = ready.programs.workers;
    process.kill(killed ?? 0, "SIGKILL");
    await until(async () => {
      const pids = (await readReadyFile(file)).programs.workers;
      return pids.length === 2 && pids[0] !== killed;
    }, "the ready file to name the new process");
    launcher.kill("SIGKILL");
    await until(() => nothingLeft(ready), "the reaper to clean up", 30_000);
  });
});
