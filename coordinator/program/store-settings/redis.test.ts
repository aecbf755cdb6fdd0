import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../../../test/harness/index.ts";
import { redisProblems } from "./redis.ts";

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const found = async (by = redis): Promise<string[]> =>
  (await redisProblems(by)).map(({ setting, found: value, verdict }) => `${verdict} ${setting} ${value}`);

describe("a shard's Redis", () => {
  it("is right as npm start sets it up", async () => {
    expect(await found()).toEqual([]);
  });

  it.each([
    ["maxmemory-policy", "allkeys-lru", "refuse"],
    ["maxmemory-policy", "allkeys-random", "refuse"],
    ["maxmemory-policy", "volatile-ttl", "warn"],
    ["appendonly", "no", "warn"],
    ["appendfsync", "everysec", "warn"],
    ["appendfsync", "no", "warn"],
    ["no-appendfsync-on-rewrite", "yes", "warn"],
    ["repl-backlog-ttl", "3600", "warn"],
  ])("with %s %s: %s", async (setting, value, verdict) => {
    const [, right] = (await redis.call("CONFIG", "GET", setting)) as readonly [string, string];
    await redis.config("SET", setting, value);
    expect(await found()).toEqual([`${verdict} ${setting} ${value}`]);
    await redis.config("SET", setting, right);
  });

  it("that hides its CONFIG is warned of, and judged by what INFO shows", async () => {
    await redis.call("ACL", "SETUSER", "managed", "on", ">secret", "~*", "&*", "+@all", "-config");
    const managed = new Redis({ port: server.port, username: "managed", password: "secret" });
    try {
      const hidden = await found(managed);
      expect(hidden.map((line) => line.split(" ").slice(0, 4).join(" "))).toEqual([
        "warn appendfsync not shown",
        "warn no-appendfsync-on-rewrite not shown",
        "warn repl-backlog-ttl not shown",
      ]);
      expect(hidden[0]).toMatch(/CONFIG GET: NOPERM/);
      await redis.config("SET", "maxmemory-policy", "allkeys-lfu");
      expect((await found(managed))[0]).toBe("refuse maxmemory-policy allkeys-lfu");
    } finally {
      await redis.config("SET", "maxmemory-policy", "noeviction");
      managed.disconnect();
    }
  });
});
