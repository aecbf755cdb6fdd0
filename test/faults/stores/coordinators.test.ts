import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fair, until } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectKept, winnersOf } from "../../harness/store-crowd.ts";
import { empty, RESTART_AFTER_MS, restartWith } from "../../harness/folders.ts";

/** Two coordinators; the one that holds the shard is stopped with SIGSTOP across an epoch's start and goes on afterwards. */
const MAIN = fileURLToPath(new URL("../../../dist/coordinator/main.js", import.meta.url));
const UNITS = 200;
const BUYERS = 320;

let fair: Fair;
let second: ChildProcess;
beforeAll(async () => {
  fair = await Fair.open({ shards: 1, restartAfterMs: RESTART_AFTER_MS });
  const { redisShards, nats } = await fair.stack.info();
  second = spawn(process.execPath, [MAIN], {
    // standard input is a pipe from us: should this process die, so does it
    stdio: ["pipe", "ignore", "inherit"],
    env: {
      REDIS_SHARDS: redisShards,
      NATS_URL: nats.url,
      NATS_USER: nats.user ?? "",
      NATS_PASSWORD: nats.pass ?? "",
      DOORBUSTER_COORDINATOR_PORT: "0",
      DOORBUSTER_EXIT_WITH_PARENT: "true",
      DOORBUSTER_LOG_LEVEL: "silent",
    },
  });
}, 180_000);
afterAll(async () => {
  second?.kill("SIGKILL");
  if (second?.exitCode === null && second.signalCode === null) await once(second, "exit");
  await fair?.close();
});

const holder = async (): Promise<number | undefined> => {
  const [shard] = await fair.shards().catch(() => []);
  return shard?.holder === null || shard === undefined ? undefined : Number(shard.holder.split("/")[1]);
};

describe("two coordinators, one of them stopped across the start of an epoch", { timeout: 240_000 }, () => {
  it.each([
    ["a Redis that was killed", async () => restartWith(fair, ["redis-0"], () => Promise.resolve())],
    ["a Redis that was emptied", async () => restartWith(fair, ["redis-0"], empty)],
  ])("%s: the other begins it, and the first cannot disturb it when it goes on", async (what, lose) => {
    const saleId = what.includes("emptied") ? "stopped-emptied" : "stopped-killed";
    await fair.openSale(saleId, UNITS);
    const early = crowd(fair, saleId, 0, 60);
    await early.done;
    const before = await confirmedOrders(fair, saleId, winnersOf(early.told));
    await until(async () => (await holder()) !== undefined, "somebody to hold the lease", 20_000);
    const stopped = (await holder()) as number;
    const epoch = (await fair.shards())[0]?.epoch ?? 0;
    const later = crowd(fair, saleId, 60, BUYERS);
    await later.until(10);
    process.kill(stopped, "SIGSTOP");
    await lose();
    await until(
      async () => {
        const [shard] = await fair.shards().catch(() => []);
        return shard?.state === "open" && shard.epoch > epoch;
      },
      "the other one to begin an epoch",
      60_000,
    );
    expect(await holder()).not.toBe(stopped);
    const begun = (await fair.shards())[0]?.epoch;
    process.kill(stopped, "SIGCONT");
    await later.done;
    await expectKept(fair, saleId, { units: UNITS, buyers: BUYERS, before });
    expect((await fair.shards())[0]).toMatchObject({ state: "open", epoch: begun });
    expect(await holder()).not.toBe(stopped);
  });
});
