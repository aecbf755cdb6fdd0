import { spawn, type ChildProcess } from "node:child_process";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { environment, fakePrograms, isListening, processesOf, until } from "../../test/harness/index.ts";
import type { StackInfo } from "./index.ts";

const DOOR = fileURLToPath(new URL("../../dist/deploy/local/index.js", import.meta.url));

/** A launcher as `npm start` is one: a process of its own that prints where everything is and ends on SIGINT. */
const LAUNCHER = `
import { startStack } from ${JSON.stringify(DOOR)};
const abort = new AbortController();
process.on("SIGINT", () => abort.abort());
const options = { environment: process.env, dist: process.argv[1], say: () => undefined, abort: abort.signal };
const stack = await startStack(options).catch(() => process.exit(1));
console.log(JSON.stringify(await stack.info()));
const timer = setInterval(() => undefined, 1_000);
abort.signal.addEventListener("abort", async () => { await stack.stop(); clearInterval(timer); });
if (abort.signal.aborted) { await stack.stop(); clearInterval(timer); }
`;

let work: string;
let launchers: ChildProcess[];
beforeEach(async () => {
  launchers = [];
  work = await mkdtemp(join(tmpdir(), "launcher-test-"));
  // Postgres runs as another user, below this folder.
  await chmod(work, 0o711);
});
afterEach(async () => {
  for (const launcher of launchers) launcher.kill("SIGKILL");
  await rm(work, { recursive: true, force: true });
});

const launch = async (): Promise<ChildProcess> => {
  const dist = await fakePrograms(join(work, "dist"));
  const launcher = spawn(process.execPath, ["--input-type=module", "-e", LAUNCHER, dist], {
    // A group of its own, so that a test can send what a terminal sends.
    detached: true,
    env: { ...environment, TMPDIR: work },
    stdio: ["ignore", "pipe", "inherit"],
  });
  launchers.push(launcher);
  return launcher;
};

const infoOf = async (launcher: ChildProcess): Promise<StackInfo> => {
  for await (const line of createInterface({ input: launcher.stdout ?? process.stdin })) return JSON.parse(line) as StackInfo;
  throw new Error("the launcher ended without a word");
};

const exitCode = (launcher: ChildProcess): Promise<number | NodeJS.Signals | null> =>
  new Promise((resolve) => launcher.once("exit", (code, signal) => resolve(code ?? signal)));

const foldersLeft = async (): Promise<readonly string[]> => (await readdir(work)).filter((name) => name !== "dist");

const nothingLeft = async (info: StackInfo): Promise<boolean> => {
  if ((await processesOf(info.run)).length > 0 || (await foldersLeft()).length > 0) return false;
  const urls = [...info.redis, info.nats, info.postgres].map(({ url }) => url).concat(info.gateway, info.coordinator);
  return (await Promise.all(urls.map(isListening))).every((listening) => !listening);
};

describe("a launcher", () => {
  it("leaves nothing after a Ctrl-C, which the terminal sends to the whole group", async () => {
    const launcher = await launch();
    const info = await infoOf(launcher);
    process.kill(-(launcher.pid ?? 0), "SIGINT");
    expect(await exitCode(launcher)).toBe(0);
    expect(await nothingLeft(info)).toBe(true);
  });

  it("leaves nothing after its own kill -9", async () => {
    const launcher = await launch();
    const info = await infoOf(launcher);
    expect((await processesOf(info.run)).length).toBeGreaterThan(7);
    launcher.kill("SIGKILL");
    await until(() => nothingLeft(info), "the reaper to clean up", 30_000);
  });

  it("leaves nothing when it is killed in the middle of a start", async () => {
    const launcher = await launch();
    await until(async () => (await foldersLeft()).length > 0, "its folder");
    const run = (await foldersLeft())[0]?.split("-").at(-1) ?? "";
    await until(async () => (await processesOf(run)).length > 1, "its first processes");
    launcher.kill("SIGKILL");
    await until(async () => (await foldersLeft()).length === 0 && (await processesOf(run)).length === 0, "the reaper to clean up", 30_000);
  });

  it("leaves nothing after a Ctrl-C in the middle of a start", async () => {
    const launcher = await launch();
    await until(async () => (await foldersLeft()).length > 0, "its folder");
    const run = (await foldersLeft())[0]?.split("-").at(-1) ?? "";
    launcher.kill("SIGINT");
    await exitCode(launcher);
    expect(await foldersLeft()).toEqual([]);
    expect(await processesOf(run)).toEqual([]);
  });
});
