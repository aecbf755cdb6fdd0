import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SaleRecord, ShardFacts } from "#protocol";
import { environment, startStack, until, type Stack, type StackInfo } from "../../test/harness/index.ts";
import { writeReadyFile, type ReadyFile } from "./ready-file.ts";

const MAIN = fileURLToPath(new URL("../../dist/deploy/cli/main.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let folder: string;
let readyFile: string;
let stack: Stack;
let info: StackInfo;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "operate-test-"));
  readyFile = join(folder, "ready.json");
  stack = await startStack({ environment, shards: 4, redis: 2 });
  info = await stack.info();
  await writeReadyFile(readyFile, { ...info, sale: "none" } as ReadyFile);
}, 180_000);
afterAll(async () => {
  await stack?.stop();
  await rm(folder, { recursive: true, force: true });
});

const run = (args: readonly string[], changes: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { env: { ...environment, ...changes } }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
const operate = (...args: string[]): Promise<Ended> => run([...args, "--ready-file", readyFile]);
const json = async <T>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await operate(...args, "--json");
  if (code !== 0) throw new Error(`${args.join(" ")}: ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
};
const shards = (): Promise<readonly ShardFacts[]> => json("shards");
const sql = async (text: string): Promise<void> => {
  const client = new Client({ connectionString: info.databaseUrl });
  await client.connect();
  await client.query(text);
  await client.end();
};

describe("doorbuster sale", { timeout: 120_000 }, () => {
  it("opens, shows, pauses, resumes, adds to, lists and closes a sale", async () => {
    const opened = await json<SaleRecord>(
      "sale",
      "open",
      "chairs",
      "--units",
      "20",
      "--closes",
      "+2h",
      "--title",
      "Chairs",
      "--limit",
      "2",
      "--pay-within",
      "30m",
    );
    expect(opened).toMatchObject({
      id: "chairs",
      title: "Chairs",
      totalUnits: 20,
      state: "open",
      limitPerBuyer: 2,
      payWithinMs: 1_800_000,
    });
    expect(opened.closesAtMs - opened.opensAtMs).toBeGreaterThan(7_190_000);
    expect((await json<SaleRecord>("sale", "pause", "chairs")).state).toBe("paused");
    expect((await json<SaleRecord>("sale", "resume", "chairs")).state).toBe("open");
    expect((await json<SaleRecord>("sale", "add", "chairs", "--units", "5", "--grant", "more")).totalUnits).toBe(25);
    expect((await json<SaleRecord>("sale", "add", "chairs", "--units", "5", "--grant", "more")).totalUnits).toBe(25);
    expect(await json<SaleRecord[]>("sale", "list")).toMatchObject([{ id: "chairs", totalUnits: 25 }]);
    const shown = await operate("sale", "show", "chairs");
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    expect(shown.stdout).toMatch(/chairs.*open.*25/);
    expect((await json<SaleRecord>("sale", "close", "chairs")).state).toBe("closed");
  });

  it("archives a sale that is over, and lists it when that is asked for", async () => {
    await json<SaleRecord>("sale", "open", "lamps", "--units", "3", "--closes", "+2h");
    expect(await operate("sale", "archive", "lamps")).toMatchObject({ code: 1, stderr: expect.stringContaining("close it first") });
    await json<SaleRecord>("sale", "close", "lamps");
    expect((await json<SaleRecord>("sale", "archive", "lamps")).state).toBe("archived");
    expect((await json<SaleRecord>("sale", "show", "lamps")).state).toBe("archived");
    const listed = async (...options: string[]) => (await json<SaleRecord[]>("sale", "list", ...options)).map(({ id }) => id);
    expect(await listed()).not.toContain("lamps");
    expect(await listed("--archived")).toContain("lamps");
  });

  it.each([
    [["sale", "show", "nothing"], 1, /^doorbuster: not_found: There is no sale nothing\.\n$/],
    [["sale", "resume", "nothing"], 1, /^doorbuster: not_found: /],
    [["sale", "resume", "chairs"], 1, /^doorbuster: conflict: sale chairs is closed for good\n$/],
    [
      ["sale", "open", "chairs", "--units", "3", "--closes", "+1h"],
      1,
      /^doorbuster: conflict: sale chairs exists with another definition\n$/,
    ],
    [
      ["sale", "open", "x", "--units", "3", "--closes", "2001-01-01T00:00:00Z"],
      1,
      /^doorbuster: bad_request: .*closesAtMs must be after opensAtMs/,
    ],
    [
      ["sale", "open", "x", "--units", "3", "--closes", "2999-01-01T00:00:00Z"],
      1,
      /^doorbuster: bad_request: closesAtMs: must be whole milli/,
    ],
    [
      ["sale", "open", "x", "--units", "3", "--closes", "+1h", "--title", "a\u001B[2J"],
      1,
      /^doorbuster: bad_request: title: must have no control/,
    ],
    [["sale", "open", "x", "--units", "0", "--closes", "+1h"], 1, /whole number of at least 1/],
    [["sale", "open", "x", "--units", "3", "--closes", "tomorrow"], 1, /ISO 8601 with its zone/],
    [["sale", "open", "a b", "--units", "3", "--closes", "+1h"], 1, /It must be an id/],
    [["sale", "add", "chairs", "--units", "3"], 1, /^doorbuster: conflict: .*to repeat it, add --grant added-[0-9a-f]{12}\n$/],
    [["sale", "sell", "x"], 1, /unknown command/],
    [["shards", "drain", "99"], 1, /^doorbuster: not_found: shard 99 is not configured\n$/],
    [["shards", "retry", "0"], 1, /^doorbuster: conflict: shard 0 is not halted\n$/],
    [["shards", "discard", "0"], 1, /--lose-unconfirmed/],
    [["shards", "discard", "0", "--lose-unconfirmed"], 1, /^doorbuster: conflict: shard 0 is open and sells/],
  ])("%j ends with a clear error", async (args, code, message) => {
    const ended = await operate(...args);
    expect(ended.stderr).toMatch(message);
    expect([ended.code, ended.stdout]).toEqual([code, ""]);
  });

  it("finds the admin API by the environment too, and tells silence from a refusal", async () => {
    const { hostname, port } = new URL(info.admin);
    const found = { DOORBUSTER_ADMIN_TOKEN: info.adminToken, DOORBUSTER_ADMIN_HOST: hostname, DOORBUSTER_ADMIN_PORT: port };
    expect(await run(["sale", "list"], found)).toMatchObject({ code: 0, stderr: "" });
    expect(await run(["sale", "list", "--admin", info.admin], { DOORBUSTER_ADMIN_TOKEN: info.adminToken })).toMatchObject({ code: 0 });
    expect(await run(["sale", "list"], { ...found, DOORBUSTER_ADMIN_TOKEN: "another-admin-token" })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("unauthorized"),
    });
    expect(await run(["shards", "--admin", "http://127.0.0.1:1"], found)).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^doorbuster: http:\/\/127.0.0.1:1 does not answer: /),
    });
    expect(await run(["shards"])).toMatchObject({ code: 1, stderr: expect.stringContaining("DOORBUSTER_ADMIN_TOKEN: is required") });
  });
});

describe("doorbuster shards", { timeout: 120_000 }, () => {
  it("tells each shard's state, epoch and units, and which process holds its lease", async () => {
    await json("sale", "open", "tables", "--units", "40", "--closes", "+2h", "--shards", "4");
    await until(async () => (await shards()).reduce((sum, { units }) => sum + (units.left ?? 0), 0) === 40, "the units to arrive", 30_000);
    const all = await shards();
    expect(all.map(({ shard, state, epoch }) => [shard, state, epoch])).toEqual([0, 1, 2, 3].map((shard) => [shard, "open", 1]));
    // the one below its primary
    const coordinator = info.programs.coordinator.at(-1);
    for (const { holder } of all) expect(holder).toMatch(new RegExp(`/${coordinator}$`));
    const { code, stdout } = await operate("shards");
    expect(code).toBe(0);
    expect(stdout.match(/│ open +│/g)).toHaveLength(4);
    expect(stdout).toContain(`/${coordinator}`);
  });

  it("drains a shard: its units move to the sale's other shards; and takes it back into use", async () => {
    const drained = (): Promise<boolean> => shards().then((all) => all[2]?.state === "drained");
    expect((await shards())[2]?.units.left).toBe(10);
    expect((await operate("shards", "drain", "2")).code).toBe(0);
    await until(drained, "the shard to be drained", 30_000);
    const all = await shards();
    expect(all.map(({ units }) => units.left).reduce((sum, left) => (sum ?? 0) + (left ?? 0), 0)).toBe(40);
    expect(all[2]).toMatchObject({ draining: true, units: { left: 0, reserved: 0, arriving: 0 } });
    const opened = await json<SaleRecord>("sale", "open", "stools", "--units", "9", "--closes", "+2h", "--shards", "3");
    expect(opened.shards).toEqual([0, 1, 3]);
    expect(await operate("sale", "open", "more", "--units", "9", "--closes", "+2h", "--shards", "4")).toMatchObject({ code: 1 });
    expect((await operate("shards", "undrain", "2")).code).toBe(0);
    expect((await shards())[2]?.state).toBe("open");
  });

  it("shows a halt and takes it away", async () => {
    const epoch = (await shards())[1]?.epoch ?? 0;
    await sql("UPDATE shards SET halted = 'an example' WHERE shard = 1");
    await until(async () => (await shards())[1]?.state === "halted", "the halt", 20_000);
    // taken away before the coordinator has looked it would end no epoch
    const isSeen = async (): Promise<boolean> =>
      (await (await fetch(`${info.metrics.coordinator}/metrics`)).text()).includes('doorbuster_shard_halted{shard="1"} 1');
    await until(isSeen, "the coordinator to stop the shard", 20_000);
    expect((await operate("shards")).stdout).toContain("halted: an example");
    expect((await operate("shards", "retry", "1")).code).toBe(0);
    await until(async () => (await shards())[1]?.state === "open", "the shard to be open", 30_000);
    expect((await shards())[1]?.epoch).toBe(epoch + 1);
  });

  it("tells a Redis that is away, for every shard on it", async () => {
    const killed = stack.pid("redis-1");
    stack.kill("redis-1");
    await until(
      async () => (await shards()).every(({ shard, state }) => state === (shard % 2 === 1 ? "away" : "open")),
      "the shards to be away",
      20_000,
    );
    await until(() => stack.pid("redis-1") !== undefined && stack.pid("redis-1") !== killed, "another server", 20_000);
    await until(async () => (await shards()).every(({ state }) => state === "open"), "all to be open", 30_000);
  });

  it("watches until it is told to stop", async () => {
    const child = execFile(process.execPath, [MAIN, "shards", "--watch", "--json", "--ready-file", readyFile]);
    let lines = 0;
    child.stdout?.on("data", (text: string) => (lines += text.split("\n").length - 1));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await until(() => lines >= 2, "two looks", 20_000);
    child.kill("SIGINT");
    expect(await ended).toBe(0);
  });
});
