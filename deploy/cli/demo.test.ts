import { execFile, spawn, type ChildProcess } from "node:child_process";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saleKeys } from "#lua";
import { environment, until } from "../../test/harness/index.ts";
import type { AuditReport } from "../../workers/index.ts";
import type { DemoReport } from "./demo-report.ts";
import { readReadyFile, type ReadyFile } from "./ready-file.ts";

const MAIN = fileURLToPath(new URL("../../dist/deploy/cli/main.js", import.meta.url));
const STOCK = 301;
const BUYERS = 2_000;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const clean = { ...environment, REDIS_SHARDS: "", NATS_URL: "", DATABASE_URL: "" };

const run = (args: readonly string[], changes: Readonly<Record<string, string>> = {}): Promise<Ended> =>
  new Promise((resolve) => {
    const options = { env: { ...clean, ...changes }, maxBuffer: 1 << 26 };
    const child = execFile(process.execPath, [MAIN, ...args], options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });

let folder: string;
let readyFile: string;
let demo: ChildProcess;
let output = "";
let ready: ReadyFile;
let report: DemoReport;

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "demo-test-"));
  readyFile = join(folder, "ready.json");
  const reportFile = join(folder, "report.json");
  const options = ["--stock", STOCK, "--buyers", BUYERS, "--sales", 2, "--ready-file", readyFile, "--report", reportFile, "--keep"];
  demo = spawn(process.execPath, [MAIN, "demo", ...options.map(String)], { env: clean, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [demo.stdout, demo.stderr]) stream?.on("data", (text) => (output += String(text)));
  await until(
    () => {
      if (demo.exitCode !== null) throw new Error(`the demo ended:\n${output}`);
      return output.includes("still running");
    },
    "the demo to be over",
    170_000,
  );
  ready = await readReadyFile(readyFile);
  report = JSON.parse(await readFile(reportFile, "utf8")) as DemoReport;
}, 180_000);

afterAll(async () => {
  demo.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

describe("the demo", () => {
  it("sells out exactly and says so", () => {
    expect(report).toMatchObject({
      stock: STOCK,
      buyers: BUYERS,
      reserved: STOCK,
      confirmed: STOCK,
      orders: STOCK,
      free: 0,
      inFlight: 0,
      oversold: 0,
      lost: 0,
      duplicateOrders: 0,
      errors: 0,
      restarts: 0,
      auditOk: true,
    });
    const { requests, reserved, repeats, soldOut, rateLimited, comeAgain } = report;
    expect(requests).toBe(reserved + repeats + soldOut + rateLimited + comeAgain);
    expect(requests).toBeGreaterThan(BUYERS);
    expect(repeats).toBeGreaterThan(0);
    for (const measured of [report.requestsPerSecond, report.ordersPerSecond, report.p50Ms, report.p99Ms, report.confirmP99Ms])
      expect(measured).toBeGreaterThan(0);
    expect(output).toMatch(/ok: 2 sales, 301 orders/);
  });

  it("prints no colours into a pipe", () => {
    expect(output).not.toContain("\u001B[");
  });
});

describe("tickets", () => {
  it("prints one that the gateway takes", async () => {
    const { code, stdout } = await run(["tickets", "--ready-file", readyFile, "--sale", ready.sale, "--uid", "zoe"]);
    expect(code).toBe(0);
    const { uid, ticket } = JSON.parse(stdout) as { uid: string; ticket: string };
    expect(uid).toBe("zoe");
    const answer = await fetch(`${ready.gateway}/buy/${ticket}`, { method: "POST" });
    expect(((await answer.json()) as { code: string }).code).toBe("sold_out");
  });

  it("prints many, each for a buyer of its own, and none that lives longer than asked", async () => {
    const { stdout } = await run(["tickets", "--ready-file", readyFile, "--sale", ready.sale, "--count", "5000", "--expires-in", "1"]);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { uid: string; ticket: string });
    expect(new Set(lines.map((line) => line.uid)).size).toBe(5_000);
    expect(new Set(lines.map((line) => line.ticket)).size).toBe(5_000);
    const answered = async (): Promise<string> => {
      const answer = await fetch(`${ready.gateway}/buy/${lines[0]?.ticket}`);
      return ((await answer.json()) as { code: string }).code;
    };
    await until(async () => (await answered()) === "ticket_expired", "the ticket to expire", 10_000);
  });

  it("says clearly what is wrong", async () => {
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [["--sale", "s"], /give either --uid U or --count N/],
      [["--sale", "s", "--uid", "u", "--count", "2"], /give either --uid U or --count N/],
      [["--sale", "a b", "--uid", "u"], /"a b" is not a sale id/],
      [["--sale", "s", "--uid", "ü"], /"ü" is not a buyer id/],
      [["--sale", "s", "--count", "0"], /whole number of at least 1/],
      [["--uid", "u"], /--sale <id>' not specified/],
      // milliseconds where seconds are wanted
      [
        ["--sale", "s", "--uid", "u", "--expires-in", "3600000000"],
        /--expires-in 3600000000: the end must be whole milliseconds since 1970, from 2000 to 2100/,
      ],
    ];
    for (const [args, text] of wrong) {
      const { code, stderr } = await run(["tickets", "--ready-file", readyFile, ...args]);
      expect(code).toBe(1);
      expect(stderr).toMatch(text);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });
});

describe("the audit", () => {
  const stores = (): Record<string, string> => ({
    REDIS_SHARDS: ready.redisShards,
    NATS_URL: ready.nats.url,
    NATS_USER: ready.nats.user ?? "",
    NATS_PASSWORD: ready.nats.pass ?? "",
    DATABASE_URL: ready.databaseUrl,
  });

  it("is clean, told by a ready file or by the environment", async () => {
    const json = join(folder, "audit.json");
    const byFile = await run(["audit", "--ready-file", readyFile, "--json", json]);
    expect(byFile.code).toBe(0);
    const found = JSON.parse(await readFile(json, "utf8")) as AuditReport;
    expect(found).toMatchObject({ ok: true, differences: [] });
    expect(found.sales.map((sale) => [sale.total, sale.sold, sale.free])).toEqual([
      [151, 151, 0],
      [150, 150, 0],
    ]);
    const byEnvironment = await run(["audit"], stores());
    expect(byEnvironment.code).toBe(0);
    expect(byEnvironment.stdout).toBe(byFile.stdout);
  });

  it("exits 1 on a difference and names it", async () => {
    const servers = ready.redis.map(({ url }) => new Redis(url));
    const holds = await Promise.all(servers.map((server, shard) => server.exists(saleKeys(shard, ready.sale).sale)));
    const shard = holds.indexOf(1);
    const { sale } = saleKeys(shard, ready.sale);
    await servers[shard]?.hincrby(sale, "left", 1);
    const json = join(folder, "damaged.json");
    const { code, stdout } = await run(["audit", "--ready-file", readyFile, "--json", json]);
    await servers[shard]?.hincrby(sale, "left", -1);
    for (const server of servers) server.disconnect();
    expect(code).toBe(1);
    expect(stdout).toContain(`units ${ready.sale}: total is 151`);
    const found = JSON.parse(await readFile(json, "utf8")) as AuditReport;
    expect(found.ok).toBe(false);
    expect(found.differences.map((difference) => difference.kind)).toContain("units");
  });

  it("says which store does not answer", async () => {
    const gone = await run(["audit"], { ...stores(), DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
    expect(gone.code).toBe(1);
    expect(gone.stderr).toMatch(/nothing could be audited: Postgres does not answer/);
    const unknown = await run(["audit"], { REDIS_SHARDS: "here" });
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toMatch(/REDIS_SHARDS: .*\n.*NATS_URL: is required\n.*DATABASE_URL: is required/);
  });
});

describe("the end of a demo that was kept", () => {
  it("comes with a signal and leaves no ready file", async () => {
    demo.kill("SIGINT");
    await until(() => demo.exitCode !== null, "the demo to end", 60_000);
    expect(demo.exitCode).toBe(0);
    expect(output).toContain("stopped, nothing is left");
    expect(await isThere(readyFile)).toBe(false);
  });
});
