import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { StackWorld, until } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectKept, winnersOf } from "../../harness/store-crowd.ts";
import { empty, RESTART_AFTER_MS, restartWith } from "../../harness/folders.ts";

/** Two coordinators; the one that holds the shard is stopped with SIGSTOP across an epoch's start and goes on afterwards. */
const MAIN = fileURLToPath(new URL("../../../dist/coordinator/main.js", import.meta.url));
const UNITS = 200;
const BUYERS = 320;

let world: StackWorld;
let second: ChildProcess;
beforeAll(async () => {
  world = await StackWorld.start({ shards: 1, restartAfterMs: RESTART_AFTER_MS });
  const { redisShards, nats } = await world.stack.info();
  second = spawn(process.execPath, [MAIN], {
    // standard input is a pipe from us: should this process die, so does it
    stdio: ["pipe", "ignore", "inherit"],
    env: {
      REDIS_SHARDS: redisShards,
      NATS_URL: nats.url,
      NATS_USER: nats.user ?? "",
      NATS_PASSWORD: nats.pass ?? "",
      DOORBUSTER_COORDINATOR_PORT: "0",
      DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
      DOORBUSTER_EXIT_WITH_PARENT: "true",
      DOORBUSTER_LOG_LEVEL: "silent",
    },
  });
}, 180_000);
afterAll(async () => {
  second?.kill("SIGKILL");
  if (second?.exitCode === null && second.signalCode === null) await once(second, "exit");
  await world?.close();
});

const holder = async (): Promise<number | undefined> => {
  const [shard] = await world.shards().catch(() => []);
  return shard?.holder === null || shard === undefined ? undefined : Number(shard.holder.split("/")[1]);
};

describe("two coordinators, one of them stopped across the start of an epoch", { timeout: 240_000 }, () => {
  it.each([
    ["a Redis that was killed", async () => restartWith(world, ["redis-0"], () => Promise.resolve())],
    ["a Redis that was emptied", async () => restartWith(world, ["redis-0"], empty)],
  ])("%s: the other begins it, and the first cannot disturb it when it goes on", async (what, lose) => {
    const saleId = what.includes("emptied") ? "stopped-emptied" : "stopped-killed";
    await world.openSale(saleId, UNITS);
    const early = crowd(world, saleId, 0, 60);
    await early.done;
    const before = await confirmedOrders(world, saleId, winnersOf(early.answers));
    await until(async () => (await holder()) !== undefined, "somebody to hold the lease", 20_000);
    const stopped = (await holder()) as number;
    const epoch = (await world.shards())[0]?.epoch ?? 0;
    const later = crowd(world, saleId, 60, BUYERS);
    await later.until(10);
    process.kill(stopped, "SIGSTOP");
    await lose();
    await until(
      async () => {
        const [shard] = await world.shards().catch(() => []);
        return shard?.state === "open" && shard.epoch > epoch;
      },
      "the other one to begin an epoch",
      60_000,
    );
    expect(await holder()).not.toBe(stopped);
    const begun = (await world.shards())[0]?.epoch;
    process.kill(stopped, "SIGCONT");
    await later.done;
    await expectKept(world, saleId, { units: UNITS, buyers: BUYERS, before });
    expect((await world.shards())[0]).toMatchObject({ state: "open", epoch: begun });
    expect(await holder()).not.toBe(stopped);
  });
});
