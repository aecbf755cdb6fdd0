import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatOrderId, type ShardFacts } from "#protocol";
import { Draw, StackWorld, seedOf, until } from "../../harness/index.ts";
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

let world: StackWorld;
let postgres: Client;
beforeAll(async () => {
  world = await StackWorld.start({ shards: 2, redis: 2, restartAfterMs: RESTART_AFTER_MS });
  postgres = new Client({ connectionString: (await world.stack.info()).databaseUrl });
  await postgres.connect();
}, 180_000);
afterAll(async () => {
  await postgres?.end();
  await world?.close();
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
    world.openSale(saleId, UNITS, { shardCount: 2, opensAtMs, closesAtMs: opensAtMs + 3_600_000 }).then(
      () => true,
      () => false,
    );
  await until(isOpened, `${saleId} to be opened`, 30_000);
  const early = crowd(world, saleId, 0, EARLY);
  await early.done;
  const before = await confirmedOrders(world, saleId, winnersOf(early.answers));
  expect(before.size).toBe(EARLY);
  const loss = { redis: `redis-${(await world.shardsOf(saleId))[0]}`, shards: await world.shards() };
  const later = crowd(world, saleId, EARLY, BUYERS);
  await later.until(20);
  const [applied] = await Promise.all([appliedOrders(saleId), lose(loss)]);
  await later.done;
  await world.stack.ready();
  await survive(world, saleId, later.answers);
  await expectKept(world, saleId, { units: UNITS, buyers: BUYERS, before: new Map([...before, ...applied]) });
};

/** No Redis lost anything: every order that somebody was told of survives, whether Postgres had it or not. */
const expectAllTheirs: typeof expectReasons = (_world, saleId, answers) => expectStillTheirs(world, saleId, ordersOf(answers));

/** Resolves when a Redis that lost its folder sells again: nobody but Postgres can say what. */
const untilRebuilt = async (part: string, { shards }: Loss): Promise<void> => {
  const shard = Number(part.split("-")[1]);
  let mode: string | undefined;
  const isOpen = async (): Promise<boolean> => {
    const now = (await world.shards().catch(() => []))[shard];
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
      await restartWith(world, [loss.redis], empty);
      await untilRebuilt(loss.redis, loss);
    }));

  // just before its end: a torn last command
  it.each([0.999_9, draw.fraction(), draw.fraction()])(
    "whose append-only file was cut at %d of its length loads what is whole, and is kept or rebuilt",
    (share) => {
      cuts += 1;
      return sellThrough(`cut-${cuts}`, ({ redis }) => restartWith(world, [redis], (dir) => truncateAof(dir, share)));
    },
  );

  it("that cannot read its manifest stays away until its folder is taken away; other shards sell on", async () => {
    await sellThrough("manifest", async (loss) => {
      const { redis } = loss;
      const dir = await folderOf(world, redis);
      const shard = Number(redis.split("-")[1]);
      const stateIs = async (state: string): Promise<boolean> => (await world.shards().catch(() => []))[shard]?.state === state;
      await restartWith(world, [redis], (dir) => writeFile(join(dir, "appendonlydir", "appendonly.aof.manifest"), "not a manifest\n"));
      await until(() => stateIs("away"), "the shard to be away", 20_000);
      await world.openSale("elsewhere", 5);
      if (!(await world.shardsOf("elsewhere")).includes(shard)) expect((await world.buy("elsewhere", "b0")).orderId).toBeDefined();
      await rename(dir, `${dir}.broken`);
      await untilRebuilt(redis, loss);
    });
  });

  it("that was killed and emptied twice within its recovery", () =>
    sellThrough("twice", async (loss) => {
      await restartWith(world, [loss.redis], empty);
      await restartWith(world, [loss.redis], empty);
      await untilRebuilt(loss.redis, loss);
    }));
});

describe("the log's store folder", { timeout: 180_000 }, () => {
  it("as an older copy loses nothing: every reservation, too, is confirmed", async () => {
    await restartWith(world, ["nats"], keepCopy);
    await world.stack.ready();
    await sellThrough("older-log", () => restartWith(world, ["nats"], restoreCopy), expectAllTheirs);
  });

  it("and a Redis as older copies at once: what was confirmed stays", async () => {
    for (const part of ["nats", "redis-0", "redis-1"]) await restartWith(world, [part], keepCopy);
    await world.stack.ready();
    await sellThrough("both-older", () => restartWith(world, ["nats", "redis-0", "redis-1"], restoreCopy));
  });

  it("and every Redis emptied at once", () =>
    sellThrough("all-empty", async (loss) => {
      const redises = ["redis-0", "redis-1"];
      await restartWith(world, ["nats", ...redises], empty);
      await Promise.all(redises.map((redis) => untilRebuilt(redis, loss)));
    }));
});

describe("afterwards", () => {
  it("the whole fleet sells on", async () => {
    await world.openSale("after", 10);
    await crowd(world, "after", 0, 20).done;
    await expectSoldOut(world, "after", 10);
  });
});
