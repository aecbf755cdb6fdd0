import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatOrderId, type ShardFacts } from "#protocol";
import { Draw, Fair, seedOf, until } from "../../harness/index.ts";
import {
  confirmedOrders,
  crowd,
  expectKept,
  expectReasons,
  expectSoldOut,
  expectStillTheirs,
  ordersOf,
  winnersOf,
} from "../../harness/store-crowd.ts";
import { empty, folderOf, keepCopy, RESTART_AFTER_MS, restartWith, restoreCopy, truncateAof } from "../../harness/folders.ts";

/**
 * A store comes back with less than it had, in the middle of a sale, while buyers keep firing. What was confirmed stays,
 * every unit is sold once, and the books balance; only reservations that Postgres had not applied may be gone.
 */
const UNITS = 240;
const BUYERS = 400;
/** Told before the store is lost. */
const EARLY = 60;

const seed = seedOf("LOST_SEED");
const draw = new Draw(seed);
let cuts = 0;

let fair: Fair;
let postgres: Client;
beforeAll(async () => {
  fair = await Fair.open({ shards: 2, redis: 2, restartAfterMs: RESTART_AFTER_MS });
  postgres = new Client({ connectionString: (await fair.stack.info()).databaseUrl });
  await postgres.connect();
}, 180_000);
afterAll(async () => {
  await postgres?.end();
  await fair?.close();
});

/** Each buyer's order that Postgres has: it is confirmed, whatever is lost. */
const appliedOrders = async (saleId: string): Promise<ReadonlyMap<string, string>> => {
  const { rows } = await postgres.query<{ uid: string; shard: number; epoch: string; seq: string; idx: number }>(
    "SELECT uid, shard, epoch, seq, idx FROM orders WHERE sale_id = $1 AND state <> 'rejected'",
    [saleId],
  );
  return new Map(
    rows.map(({ uid, shard, epoch, seq, idx }) => [uid, formatOrderId({ shard, epoch: Number(epoch), seq: Number(seq), index: idx })]),
  );
};

/** What is lost, and how it was. */
interface Loss {
  /** the servers' part of the sale's first shard */
  readonly redis: string;
  readonly shards: readonly ShardFacts[];
}

/**
 * Sells a first part, all of it confirmed; loses something while a crowd fires; sells the rest.
 * @param survive what becomes of those who were told of an order: by default it may be gone if Postgres did not have it
 */
const sellThrough = async (saleId: string, lose: (loss: Loss) => Promise<void>, survive = expectReasons): Promise<void> => {
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
  const loss = { redis: `redis-${(await fair.shardsOf(saleId))[0]}`, shards: await fair.shards() };
  const later = crowd(fair, saleId, EARLY, BUYERS);
  await later.until(20);
  const [applied] = await Promise.all([appliedOrders(saleId), lose(loss)]);
  await later.done;
  await fair.stack.ready();
  await survive(fair, saleId, later.told);
  await expectKept(fair, saleId, { units: UNITS, buyers: BUYERS, before: new Map([...before, ...applied]) });
};

/** No Redis lost anything: every order that somebody was told of survives, whether Postgres had it or not. */
const expectAllTheirs: typeof expectReasons = (_fair, saleId, told) => expectStillTheirs(fair, saleId, ordersOf(told));

/** Resolves when a Redis that lost its folder sells again: nobody but Postgres can say what. */
const untilRebuilt = async (part: string, { shards }: Loss): Promise<void> => {
  const shard = Number(part.split("-")[1]);
  let mode: string | undefined;
  const isOpen = async (): Promise<boolean> => {
    const now = (await fair.shards().catch(() => []))[shard];
    // the first look at it open: on a busy machine it may lose its permission to sell later, and a next epoch keeps what there is
    if (now?.state === "open" && now.epoch > (shards[shard]?.epoch ?? 0)) mode = now.mode;
    return mode !== undefined;
  };
  await until(isOpen, `${part} to sell in a new epoch`, 60_000);
  expect(mode, part).toBe("rebuild");
};

describe(`a Redis (LOST_SEED=${seed})`, { timeout: 180_000 }, () => {
  it("that was emptied is rebuilt", () =>
    sellThrough("emptied", async (loss) => {
      await restartWith(fair, [loss.redis], empty);
      await untilRebuilt(loss.redis, loss);
    }));

  // just before its end: a torn last command
  it.each([0.999_9, draw.fraction(), draw.fraction()])(
    "whose append-only file was cut at %d of its length loads what is whole, and is kept or rebuilt",
    (share) => {
      cuts += 1;
      return sellThrough(`cut-${cuts}`, ({ redis }) => restartWith(fair, [redis], (dir) => truncateAof(dir, share)));
    },
  );

  it("that cannot read its manifest stays away until its folder is taken away; other shards sell on", async () => {
    await sellThrough("manifest", async (loss) => {
      const { redis } = loss;
      const dir = await folderOf(fair, redis);
      const shard = Number(redis.split("-")[1]);
      const stateIs = async (state: string): Promise<boolean> => (await fair.shards().catch(() => []))[shard]?.state === state;
      await restartWith(fair, [redis], (dir) => writeFile(join(dir, "appendonlydir", "appendonly.aof.manifest"), "not a manifest\n"));
      await until(() => stateIs("away"), "the shard to be away", 20_000);
      await fair.openSale("elsewhere", 5);
      if (!(await fair.shardsOf("elsewhere")).includes(shard)) expect((await fair.buy("elsewhere", "b0")).orderId).toBeDefined();
      await rename(dir, `${dir}.broken`);
      await untilRebuilt(redis, loss);
    });
  });

  it("that was killed and emptied twice within its recovery", () =>
    sellThrough("twice", async (loss) => {
      await restartWith(fair, [loss.redis], empty);
      await restartWith(fair, [loss.redis], empty);
      await untilRebuilt(loss.redis, loss);
    }));
});

describe("the log's store folder", { timeout: 180_000 }, () => {
  it("as an older copy loses nothing: every reservation, too, is confirmed", async () => {
    await restartWith(fair, ["nats"], keepCopy);
    await fair.stack.ready();
    await sellThrough("older-log", () => restartWith(fair, ["nats"], restoreCopy), expectAllTheirs);
  });

  it("and a Redis as older copies at once: what was confirmed stays", async () => {
    for (const part of ["nats", "redis-0", "redis-1"]) await restartWith(fair, [part], keepCopy);
    await fair.stack.ready();
    await sellThrough("both-older", () => restartWith(fair, ["nats", "redis-0", "redis-1"], restoreCopy));
  });

  it("and every Redis emptied at once", () =>
    sellThrough("all-empty", async (loss) => {
      const redises = ["redis-0", "redis-1"];
      await restartWith(fair, ["nats", ...redises], empty);
      await Promise.all(redises.map((redis) => untilRebuilt(redis, loss)));
    }));
});

describe("afterwards", () => {
  it("the whole fleet sells on", async () => {
    await fair.openSale("after", 10);
    await crowd(fair, "after", 0, 20).done;
    await expectSoldOut(fair, "after", 10);
  });
});
