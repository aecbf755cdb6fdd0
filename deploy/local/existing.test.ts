import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  emptyDatabase,
  environment,
  fakePrograms,
  isListening,
  processesOf,
  startNats,
  startRedis,
  type NatsServer,
  type RedisServer,
  type TestDatabase,
} from "../../test/harness/index.ts";
import { readFile } from "node:fs/promises";
import { startStack } from "./index.ts";

describe("servers that exist already", () => {
  let work: string;
  let redis: RedisServer;
  let nats: NatsServer;
  let database: TestDatabase;

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "existing-test-"));
    [redis, nats, database] = await Promise.all([startRedis(), startNats(), emptyDatabase()]);
  });
  afterAll(async () => {
    await Promise.all([redis.stop(), nats.stop(), database.drop(), rm(work, { recursive: true, force: true })]);
  });

  it("are used where the environment names them, and are not stopped", async () => {
    const stack = await startStack({
      environment: {
        ...environment,
        // One instance may hold two shards.
        REDIS_SHARDS: `${redis.url}, ${redis.url}`,
        NATS_URL: nats.url,
        NATS_USER: nats.user,
        NATS_PASSWORD: nats.pass,
        DATABASE_URL: database.url,
      },
      dist: await fakePrograms(join(work, "dist")),
      say: () => undefined,
    });
    const info = await stack.info();
    expect(stack.parts).toEqual(["gateway", "coordinator", "workers"]);
    expect(info.redis).toEqual([
      { url: redis.url, pid: null, dir: null },
      { url: redis.url, pid: null, dir: null },
    ]);
    expect(info.redisShards).toBe(`${redis.url},${redis.url}`);
    expect(info.nats).toEqual({ url: nats.url, user: nats.user, pass: nats.pass, pid: null, dir: null });
    expect(info.postgres).toEqual({ url: database.url, pid: null, dir: null });
    expect(await readFile(join(stack.folder, "logs", "migrate.log"), "utf8")).toContain(database.url);
    await stack.stop();
    expect(await processesOf(info.run)).toEqual([]);
    expect(await isListening(redis.url)).toBe(true);
    expect(await isListening(nats.url)).toBe(true);
  });

  it("can be mixed with servers that are started", async () => {
    const stack = await startStack({
      environment: { ...environment, NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass, DATABASE_URL: database.url },
      dist: await fakePrograms(join(work, "dist")),
      shards: 3,
      say: () => undefined,
    });
    expect(stack.parts).toEqual(["redis-0", "redis-1", "redis-2", "gateway", "coordinator", "workers"]);
    await stack.stop();
    expect(await isListening(nats.url)).toBe(true);
  });

  it("are told to the programs, each only what it needs", async () => {
    const stack = await startStack({
      environment: {
        ...environment,
        REDIS_SHARDS: redis.url,
        NATS_URL: nats.url,
        DATABASE_URL: database.url,
        DOORBUSTER_BUYER_RATE: "7",
      },
      dist: await fakePrograms(join(work, "dist")),
      say: () => undefined,
    });
    const variables = async (program: "gateway" | "coordinator" | "workers"): Promise<readonly string[]> =>
      (await readFile(`/proc/${stack.pid(program)}/environ`, "utf8")).split("\0");
    const gateway = await variables("gateway");
    expect(gateway).toContain(`REDIS_SHARDS=${redis.url}`);
    expect(gateway).toContain("DOORBUSTER_BUYER_RATE=7");
    expect(gateway.filter((variable) => variable.startsWith("DATABASE_URL="))).toEqual([]);
    expect(await variables("workers")).toContain(`DATABASE_URL=${database.url}`);
    expect((await variables("coordinator")).filter((variable) => /TOKEN|TICKET/.test(variable))).toEqual([]);
    await stack.stop();
  });
});
