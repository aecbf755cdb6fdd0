import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../harness/index.ts";
import { redisClient } from "../harness/open-shard.ts";
import { BARRIER_SCRIPTS, MESSAGE_SCRIPTS, SHARD_SCRIPTS } from "./all-scripts.ts";
import { loadScripts } from "./lockstep.ts";
import { runBarriers, runMessages, runShard } from "./run.ts";
import { watchKeys } from "./watch.ts";

/**
 * Every script beside its model on a real server: random sequences of calls, right and wrong ones, on servers that
 * restart, are demoted, promoted and full; every answer, and after every few the whole key space, equal the model's.
 * A failure prints the shrunk sequence with its seed and path, which fast-check takes as they are.
 */
let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ debug: true });
  redis = await redisClient(server.url);
  // what is on disk is no subject here, and writing it takes most of the time
  await redis.config("SET", "appendonly", "no");
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const SUBJECTS = [
  { name: "a shard", scripts: SHARD_SCRIPTS, run: runShard, numRuns: 1_200 },
  { name: "two-phase messages", scripts: MESSAGE_SCRIPTS, run: runMessages, numRuns: 800 },
  { name: "barriers", scripts: BARRIER_SCRIPTS, run: runBarriers, numRuns: 800 },
] as const;

describe.each(SUBJECTS)("the scripts of $name", ({ scripts, run, numRuns }) => {
  it("answer what their model does and leave what it holds, whatever comes in whatever order", async () => {
    const asked = await run(redis, await loadScripts(redis, scripts, { heldClock: true }), { numRuns, maxCommands: 40 });
    expect(asked).toBeGreaterThan(numRuns * 10);
  }, 180_000);

  it("touch only the keys that they are given", async () => {
    const loaded = await loadScripts(redis, scripts, { heldClock: false });
    const watch = await watchKeys(redis);
    // by the server's own clock: what is compared elsewhere is not looked at
    await run(redis, loaded, { numRuns: 100, maxCommands: 40, comparing: false });
    const { scripts: seen, undeclared } = await watch.end();
    expect(seen).toBeGreaterThan(1_000);
    expect([...undeclared]).toEqual([]);
  }, 60_000);
});
