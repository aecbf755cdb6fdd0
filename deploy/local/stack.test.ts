import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { commandLine, environment, fakePrograms, isListening, processesOf, until } from "../../test/harness/index.ts";
import { processTree, startStack, type Stack, type StackInfo } from "./index.ts";

const work = await mkdtemp(join(tmpdir(), "stack-test-"));
afterAll(() => rm(work, { recursive: true, force: true }));

const urlsOf = (info: StackInfo): readonly string[] => [
  ...info.redis.map(({ url }) => url),
  info.nats.url,
  info.postgres.url,
  info.gateway,
  info.coordinator,
];

const expectNothingLeft = async (info: StackInfo, folder: string): Promise<void> => {
  expect(await processesOf(info.run)).toEqual([]);
  for (const url of urlsOf(info)) expect(await isListening(url), url).toBe(false);
  await expect(readdir(folder)).rejects.toMatchObject({ code: "ENOENT" });
};

/** System V segments made by one of these processes. */
const segmentsOf = async (pids: ReadonlySet<number | undefined>): Promise<readonly string[]> =>
  (await readFile("/proc/sysvipc/shm", "utf8")).split("\n").filter((line) => pids.has(Number(line.trim().split(/\s+/)[4])));

describe("a stack", () => {
  let stack: Stack;
  let info: StackInfo;
  const said: string[] = [];
  const postgresPids = new Set<number | undefined>();

  beforeAll(async () => {
    const dist = await fakePrograms(join(work, "dist"));
    stack = await startStack({ environment, dist, say: (line) => said.push(line) });
    info = await stack.info();
  });
  afterAll(() => stack.stop());

  it("runs two Redis servers, NATS, Postgres and the programs", async () => {
    expect(stack.parts).toEqual(["redis-0", "redis-1", "nats", "postgres", "gateway", "coordinator", "workers"]);
    expect(info.programs.gateway).toHaveLength(2);
    expect(info.programs.coordinator).toEqual([stack.pid("coordinator")]);
    for (const url of urlsOf(info)) expect(await isListening(url), url).toBe(true);
  });

  it("marks every process with the run, and our programs with their absolute path", async () => {
    const marked = await processesOf(stack.run);
    const servers = [...info.redis, info.nats, info.postgres].map(({ pid }) => pid);
    expect(marked).toEqual(expect.arrayContaining([...servers, ...Object.values(info.programs).flat()]));
    for (const [name, pids] of Object.entries(info.programs))
      for (const pid of pids) expect(await commandLine(pid)).toContain(join(work, "dist", name, "main.js"));
  });

  it("gives Redis the settings that keep every acknowledged write", async () => {
    const redis = new Redis(info.redis[0]?.url ?? "");
    const setting = async (name: string): Promise<unknown> => Object.values((await redis.config("GET", name)) as object)[1];
    expect(await setting("appendonly")).toBe("yes");
    expect(await setting("appendfsync")).toBe("always");
    expect(await setting("maxmemory-policy")).toBe("noeviction");
    expect(await setting("save")).toBe("");
    expect(await setting("repl-backlog-ttl")).toBe("0");
    expect(await setting("bind")).toBe("127.0.0.1");
    redis.disconnect();
  });

  it("keeps Postgres durable and asks for its password", async () => {
    const client = new Client({ connectionString: info.postgres.url });
    await client.connect();
    const { rows } = await client.query("select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit");
    expect(rows).toEqual([{ fsync: "on", commit: "on" }]);
    await client.end();
    const wrong = new URL(info.postgres.url);
    wrong.password = "wrong";
    await expect(new Client({ connectionString: wrong.href }).connect()).rejects.toMatchObject({ code: "28P01" });
  });

  it("applies the migrations before the programs start", async () => {
    expect(await readFile(join(stack.folder, "logs", "migrate.log"), "utf8")).toContain(`migrated ${info.postgres.url}`);
  });

  const restartedAfter = async (part: string, what: () => void | Promise<void>): Promise<void> => {
    const before = { restarts: stack.restarts, pid: stack.pid(part) };
    await what();
    await until(() => stack.restarts === before.restarts + 1, `${part} to be counted`);
    await until(() => said.includes(`${part} runs again`), `${part} to run again`);
    said.splice(said.indexOf(`${part} runs again`), 1);
    expect(stack.pid(part)).not.toBe(before.pid);
    expect(said.some((line) => line.startsWith(`${part} died (killed by SIGKILL)`))).toBe(true);
    await stack.ready();
  };

  it("starts a killed Redis again on the same port with its data", async () => {
    const redis = new Redis(info.redis[1]?.url ?? "").on("error", () => undefined);
    await redis.set("kept", "yes");
    await restartedAfter("redis-1", () => stack.kill("redis-1"));
    expect(await redis.get("kept")).toBe("yes");
    redis.disconnect();
    expect((await stack.info()).redis[1]).toMatchObject({ url: info.redis[1]?.url, pid: stack.pid("redis-1") });
  });

  it("makes a missing Redis folder anew", async () => {
    const redis = new Redis(info.redis[1]?.url ?? "").on("error", () => undefined);
    await restartedAfter("redis-1", async () => {
      stack.kill("redis-1");
      await rm(info.redis[1]?.dir ?? "", { recursive: true });
    });
    expect(await redis.get("kept")).toBeNull();
    redis.disconnect();
  });

  it("starts a killed NATS again, also without its folder", async () => {
    await restartedAfter("nats", () => stack.kill("nats"));
    await restartedAfter("nats", async () => {
      await rm(info.nats.dir ?? "", { recursive: true });
      stack.kill("nats");
    });
  });

  const orders = async (): Promise<number> => {
    const client = new Client({ connectionString: info.postgres.url });
    await client.connect();
    try {
      return Number((await client.query("select count(*) as n from kept")).rows[0]?.n);
    } finally {
      await client.end();
    }
  };

  it("starts a killed Postgres again with what was committed", async () => {
    const client = new Client({ connectionString: info.postgres.url });
    client.on("error", () => undefined);
    await client.connect();
    await client.query("create table kept as select 1 as n");
    await restartedAfter("postgres", () => stack.kill("postgres"));
    expect(await orders()).toBe(1);
    await client.end().catch(() => undefined);
  });

  it("makes a missing Postgres folder anew, and migrates it", async () => {
    postgresPids.add(stack.pid("postgres"));
    await restartedAfter("postgres", async () => {
      stack.kill("postgres");
      await rm(info.postgres.dir ?? "", { recursive: true, force: true, maxRetries: 10 });
    });
    await expect(orders()).rejects.toMatchObject({ code: "42P01" });
    const log = await readFile(join(stack.folder, "logs", "migrate.log"), "utf8");
    expect(log.trim().split("\n")).toHaveLength(2);
    postgresPids.add(stack.pid("postgres"));
  });

  it("starts a killed program again, and leaves no process of its cluster beside it", async () => {
    const [, before] = (await stack.info()).programs.gateway;
    await restartedAfter("gateway", () => stack.kill("gateway"));
    const pids = (await stack.info()).programs.gateway;
    expect(pids).toHaveLength(2);
    expect(await processTree(before ?? 0)).toEqual([]);
  });

  it("leaves nothing when it stops, also while something is being restarted", async () => {
    stack.kill("redis-0");
    stack.kill("workers");
    await until(() => said.some((line) => line.startsWith("workers died")), "workers to be missed");
    await stack.stop();
    await expectNothingLeft(info, stack.folder);
    expect(postgresPids.size).toBe(2);
    expect(await segmentsOf(postgresPids)).toEqual([]);
  });
});

describe("a stack that cannot start", () => {
  it("says what a program wrote last, and leaves nothing", async () => {
    const dist = await fakePrograms(join(work, "dist-gateway"), ["gateway"]);
    const said: string[] = [];
    await expect(startStack({ environment, dist, say: (line) => said.push(line) })).rejects.toThrow(
      /gateway ended before it was ready: exit code 3; its log ends with:\n\s+gateway cannot work here/,
    );
    const folder = /data and logs in (\S+)/.exec(said.join("\n"))?.[1] ?? "";
    await expect(readdir(folder)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await processesOf(folder.split("-").at(-1) ?? "")).toEqual([]);
  });

  it("says why the migrations failed", async () => {
    const dist = await fakePrograms(join(work, "dist-migrate"), ["migrate"]);
    await expect(startStack({ environment, dist, say: () => undefined })).rejects.toThrow(
      /the migrations could not be applied to Postgres at 127\.0\.0\.1:\d+\/doorbuster: migrate cannot work here/,
    );
  });

  it("says that it is not built", async () => {
    await expect(startStack({ environment, dist: join(work, "nowhere"), say: () => undefined })).rejects.toThrow(/run npm run build/);
  });

  it("can be given up in the middle", async () => {
    const dist = await fakePrograms(join(work, "dist-abort"));
    const abort = new AbortController();
    const starting = startStack({ environment, dist, say: () => undefined, abort: abort.signal });
    abort.abort();
    await expect(starting).rejects.toThrow();
  });
});
