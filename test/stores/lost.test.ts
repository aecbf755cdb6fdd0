import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drawFrom, environment, Fair, until } from "../harness/index.ts";
import { confirmedOrders, crowd, expectKept, expectReasons, expectSoldOut, winnersOf } from "./crowd.ts";
import { empty, folderOf, keepCopy, RESTART_AFTER_MS, restartWith, restoreCopy, truncateAof } from "./folders.ts";

/**
 * A store comes back with less than it had, in the middle of a sale, while buyers keep firing. What was confirmed stays,
 * every unit is sold once, and the books balance; only reservations that Postgres had not applied may be gone.
 */
const UNITS = 240;
const BUYERS = 400;
/** Told before the store is lost. */
const EARLY = 60;

const draw = drawFrom(Number(environment["LOST_SEED"] ?? 1));
let cuts = 0;

let fair: Fair;
beforeAll(async () => {
  fair = await Fair.open({ shards: 2, redis: 2, restartAfterMs: RESTART_AFTER_MS });
}, 180_000);
afterAll(() => fair?.close());

/**
 * Sells a first part, all of it confirmed; loses something while a crowd fires; sells the rest.
 * @param lose is told the servers' part of the sale's first shard
 */
const sellThrough = async (saleId: string, lose: (redis: string) => Promise<void>): Promise<void> => {
  // a worker that has just lost its broker does not answer yet; the same sale again is a repeat
  const opensAtMs = Date.now() - 1_000;
  const isOpened = (): Promise<boolean> =>
    fair.openSale(saleId, UNITS, { shardCount: 2, opensAtMs, closesAtMs: opensAtMs + 3_600_000 }).then(
      () => true,
      () => false,
    );
  await until(isOpened, `${saleId} to be opened`, 30_000);
  const early = crowd(fair, saleId, 0, EARLY);
  await early.done;
  const before = await confirmedOrders(fair, saleId, winnersOf(early.told));
  expect(before.size).toBe(EARLY);
  const later = crowd(fair, saleId, EARLY, BUYERS);
  await later.until(20);
  await lose(`redis-${(await fair.shardsOf(saleId))[0]}`);
  await later.done;
  await fair.stack.ready();
  await expectReasons(fair, saleId, later.told);
  await expectKept(fair, saleId, { units: UNITS, buyers: BUYERS, before });
};

describe("a Redis", { timeout: 180_000 }, () => {
  it("that was emptied is rebuilt", () => sellThrough("emptied", (redis) => restartWith(fair, [redis], empty)));

  // just before its end: a torn last command
  it.each([0.999_9, draw.fraction(), draw.fraction()])(
    "whose append-only file was cut at %d of its length loads what is whole, and is kept or rebuilt",
    (share) => {
      cuts += 1;
      return sellThrough(`cut-${cuts}`, (redis) => restartWith(fair, [redis], (dir) => truncateAof(dir, share)));
    },
  );

  it("that cannot read its manifest stays away until its folder is taken away; other shards sell on", async () => {
    await sellThrough("manifest", async (redis) => {
      const dir = await folderOf(fair, redis);
      const shard = Number(redis.split("-")[1]);
      const stateIs = async (state: string): Promise<boolean> => (await fair.shards().catch(() => []))[shard]?.state === state;
      await restartWith(fair, [redis], (dir) => writeFile(join(dir, "appendonlydir", "appendonly.aof.manifest"), "not a manifest\n"));
      await until(() => stateIs("away"), "the shard to be away", 20_000);
      await fair.openSale("elsewhere", 5);
      if (!(await fair.shardsOf("elsewhere")).includes(shard)) expect((await fair.buy("elsewhere", "b0")).orderId).toBeDefined();
      await rename(dir, `${dir}.broken`);
      await until(() => stateIs("open"), "the shard to be open again", 60_000);
    });
  });

  it("that was killed and emptied twice within its recovery", () =>
    sellThrough("twice", async (redis) => {
      await restartWith(fair, [redis], empty);
      await restartWith(fair, [redis], empty);
    }));
});

describe("the log's store folder", { timeout: 180_000 }, () => {
  it("as an older copy loses nothing", async () => {
    await restartWith(fair, ["nats"], keepCopy);
    await fair.stack.ready();
    await sellThrough("older-log", () => restartWith(fair, ["nats"], restoreCopy));
  });

  it("and a Redis as older copies at once: what was confirmed stays", async () => {
    for (const part of ["nats", "redis-0", "redis-1"]) await restartWith(fair, [part], keepCopy);
    await fair.stack.ready();
    await sellThrough("both-older", () => restartWith(fair, ["nats", "redis-0", "redis-1"], restoreCopy));
  });

  it("and every Redis emptied at once", () => sellThrough("all-empty", () => restartWith(fair, ["nats", "redis-0", "redis-1"], empty)));
});

describe("afterwards", () => {
  it("the whole fleet sells on", async () => {
    await fair.openSale("after", 10);
    await crowd(fair, "after", 0, 20).done;
    await expectSoldOut(fair, "after", 10);
  });
});
