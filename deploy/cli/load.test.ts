import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, StackWorld } from "../../test/harness/index.ts";
import type { LoadReport } from "./load-report.ts";
import { isOwnAddress, loadTarget } from "./load-target.ts";

const MAIN = fileURLToPath(new URL("../../dist/deploy/cli/main.js", import.meta.url));
const UNITS = 40;
const BUYERS = 120;
const NO_KEYS = { ...environment, DOORBUSTER_TICKET_KEYS: "" };

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let folder: string;
let keysFile: string;
let reportFile: string;
let world: StackWorld;
let gateway: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "load-test-"));
  keysFile = join(folder, "keys");
  reportFile = join(folder, "report.json");
  world = await StackWorld.start({ shards: 2, redis: 2, environment });
  const info = await world.stack.info();
  gateway = info.gateway;
  // as a mounted secret has it
  await writeFile(keysFile, `${info.ticketKeys}\n`, { mode: 0o600 });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await rm(folder, { recursive: true, force: true });
});

const load = (...args: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, "load", ...args], { env: NO_KEYS }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
const sent = async (): Promise<LoadReport> => JSON.parse(await readFile(reportFile, "utf8")) as LoadReport;
const crowd = (sale: string, ...args: string[]): string[] => [
  "--url",
  gateway,
  "--sale",
  sale,
  "--buyers",
  String(BUYERS),
  "--rate",
  "400",
  "--ticket-keys-file",
  keysFile,
  ...args,
];

describe("doorbuster load", { timeout: 120_000 }, () => {
  it("sells out a sale to buyers of both kinds, and reports as the demo does", async () => {
    await world.openStocked("rush", UNITS, { shardCount: 2 });
    const { code, stdout, stderr } = await load(...crowd("rush", "--sockets", "30", "--report", reportFile));
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/reserved\W+40\W/);
    const report = await sent();
    expect(report).toMatchObject({
      url: gateway,
      sales: ["rush"],
      buyers: BUYERS,
      sockets: 30,
      rate: 400,
      reserved: UNITS,
      confirmed: UNITS,
      errors: 0,
      unanswered: 0,
      contradictions: [],
      isStopped: false,
    });
    expect(report.p50Ms).toBeLessThanOrEqual(report.p99Ms);
    expect(await world.auditAtRest("rush")).toMatchObject({ total: UNITS, free: 0, sold: UNITS, duplicates: 0 });
  });

  it("brings other buyers each time", async () => {
    await world.openStocked("again", 2 * BUYERS, { shardCount: 2 });
    for (const sold of [BUYERS, 2 * BUYERS]) {
      expect((await load(...crowd("again", "--sockets", "0"))).code).toBe(0);
      expect(await world.auditAtRest("again")).toMatchObject({ sold });
    }
  });

  it("tells what there was until it is stopped, and ends as Ctrl-C does", async () => {
    await world.openStocked("slow", UNITS, { shardCount: 2 });
    const child = spawn(process.execPath, [MAIN, "load", ...crowd("slow", "--rate", "1", "--report", reportFile)], { env: NO_KEYS });
    const ended = new Promise<number | null>((resolve) => void child.on("close", (code) => resolve(code)));
    let said = "";
    await new Promise<void>((resolve) => {
      child.stdout.on("data", (data: Buffer) => {
        said += data.toString();
        if (said.includes("answered")) resolve();
      });
    });
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    const report = await sent();
    expect(report.isStopped).toBe(true);
    expect(report.unanswered).toBeGreaterThan(0);
  });

  it.each([
    [["--url", "http://192.0.2.7", "--sale", "rush"], 1, /192\.0\.2\.7 is neither loopback nor private .*--yes-i-own-it/],
    [["--url", "https://127.0.0.1", "--sale", "rush"], 1, /is not an http:\/\/ URL/],
    [["--url", "http://127.0.0.1:1", "--sale", "rush"], 3, /http:\/\/127\.0\.0\.1:1 does not answer/],
    [["--url", "http://127.0.0.1:1", "--sale", "a b"], 1, /--sale "a b" is not a sale id/],
  ])("refuses before anything is sent: %j", async (args, code, text) => {
    const ended = await load(...args, "--buyers", "10", "--rate", "10", "--ticket-keys-file", keysFile);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toMatch(text);
  });

  it("refuses a sale that the gateway does not know", async () => {
    const ended = await load(...crowd("nothing"));
    expect([ended.code, ended.stderr]).toEqual([1, `doorbuster: ${gateway} knows no sale nothing\n`]);
  });

  it("says which keys are missing", async () => {
    const ended = await load("--url", gateway, "--sale", "rush", "--buyers", "10", "--rate", "10");
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain("DOORBUSTER_TICKET_KEYS");
  });
});

describe("whose a host is", () => {
  it.each(["127.0.0.1", "127.8.8.8", "::1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1"])(
    "%s is ours",
    (address) => expect(isOwnAddress(address)).toBe(true),
  );
  it.each(["8.8.8.8", "172.32.0.1", "192.169.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "169.254.169.254", "0.0.0.0", "example"])(
    "%s is not",
    (address) => expect(isOwnAddress(address)).toBe(false),
  );

  it("is judged by what a name leads to, unless the user says it", async () => {
    expect(await loadTarget("http://localhost:8080", false)).toBe("http://localhost:8080");
    await expect(loadTarget("http://nowhere.invalid", false)).rejects.toThrow(/nowhere\.invalid cannot be resolved/);
    expect(await loadTarget("http://192.0.2.7:80/", true)).toBe("http://192.0.2.7");
    await expect(loadTarget("http://127.0.0.1/shop", true)).rejects.toThrow(/more than a host and a port/);
  });
});
