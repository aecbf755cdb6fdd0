import { execFile, spawn, type ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { commandLine, emptyDatabase, environment, until, type TestDatabase } from "../../test/harness/index.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import { freePort } from "../local/port.ts";

/** Compiled: `npm run build` first. */
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const MAIN = `${DIST}/deploy/cli/main.js`;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let world: GatewayWorld;
let database: TestDatabase;
let variables: Readonly<Record<string, string | undefined>>;
let started: ChildProcess | undefined;
beforeAll(async () => {
  [world, database] = await Promise.all([startGatewayWorld(), emptyDatabase()]);
  const ports = await Promise.all(Array.from({ length: 6 }, () => freePort()));
  const [gateway, admin, gatewayPage, coordinator, coordinatorPage, workers] = ports.map(String);
  variables = {
    ...environment,
    REDIS_SHARDS: world.redis.map(({ url }) => url).join(","),
    NATS_URL: world.nats.url,
    NATS_USER: world.nats.user,
    NATS_PASSWORD: world.nats.pass,
    DATABASE_URL: database.url,
    DOORBUSTER_TICKET_KEYS: "k1:a secret for tests only",
    DOORBUSTER_ADMIN_TOKEN: "an-admin-token-for-tests",
    DOORBUSTER_STOP_NOTICE_MS: "0",
    DOORBUSTER_GATEWAY_PROCESSES: "2",
    DOORBUSTER_WORKER_PROCESSES: "2",
    // on every address, as in a container
    DOORBUSTER_GATEWAY_METRICS_HOST: "0.0.0.0",
    DOORBUSTER_GATEWAY_PORT: gateway,
    DOORBUSTER_ADMIN_PORT: admin,
    DOORBUSTER_GATEWAY_METRICS_PORT: gatewayPage,
    DOORBUSTER_COORDINATOR_PORT: coordinator,
    DOORBUSTER_COORDINATOR_METRICS_PORT: coordinatorPage,
    DOORBUSTER_WORKERS_PORT: workers,
  };
}, 120_000);
afterEach(() => started?.kill("SIGKILL"));
afterAll(async () => {
  await world?.stop();
  await database?.drop();
});

const run = (args: readonly string[], env = variables): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });

const children = async (pid: number): Promise<readonly number[]> =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim().split(" ").filter(Boolean).map(Number);

describe("a command for each program", () => {
  it("applies the migrations, and ends", async () => {
    expect(await run(["migrate"])).toMatchObject({ code: 0, stdout: expect.stringContaining("the database is up to date") });
  });

  it.for([
    ["gateway", 2],
    ["coordinator", 1],
    ["workers", 2],
  ] as const)("runs %s, forks %i processes of it, knows its health, and stops on SIGTERM", async ([name, processes]) => {
    const child = spawn(process.execPath, [MAIN, name], { env: variables, stdio: ["ignore", "ignore", "inherit"] });
    started = child;
    const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
    await until(async () => child.exitCode !== null || (await run(["healthcheck"])).code === 0, `${name} to live`, 60_000);
    expect(await run(["healthcheck"])).toEqual({ code: 0, stdout: `${name} /healthz 200\n`, stderr: "" });
    await until(async () => (await children(child.pid as number)).length === processes, "its processes", 30_000);
    for (const pid of await children(child.pid as number)) expect(await commandLine(pid)).toContain(`${DIST}/${name}/main.js`);
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
    expect(await run(["healthcheck", name])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("nobody answers /healthz"),
    });
  });

  it("is ready when it serves, and not yet when it only lives", async () => {
    const lonely = { ...variables, NATS_URL: "nats://127.0.0.1:1" };
    const child = spawn(process.execPath, [MAIN, "gateway"], { env: lonely, stdio: "ignore" });
    started = child;
    await until(async () => child.exitCode !== null || (await run(["healthcheck", "gateway"])).code === 0, "the gateway to live", 60_000);
    expect(await run(["healthcheck", "gateway", "--ready"])).toMatchObject({ code: 1, stdout: "gateway /readyz 503\n" });
  });

  it("tells of everything that is wrong with a program's settings, also of a secret's file that is not there", async () => {
    const { code, stderr } = await run(["gateway"], { NATS_PASSWORD_FILE: "/nowhere", DOORBUSTER_ADMIN_PORT: "none" });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gateway: the configuration has \d+ problems:/);
    for (const name of ["NATS_PASSWORD", "DOORBUSTER_ADMIN_PORT", "DOORBUSTER_TICKET_KEYS"]) expect(stderr).toContain(`- ${name}: `);
  });

  it("takes no further words", async () => {
    expect(await run(["workers", "quickly"])).toMatchObject({ code: 1, stderr: expect.stringContaining("too many arguments") });
  });
});
