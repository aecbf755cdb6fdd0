import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ShardFacts } from "#protocol";
import { StackWorld, until } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, ordersOf, winnersOf } from "../../harness/store-crowd.ts";
import { empty, RESTART_AFTER_MS, restartWith } from "../../harness/folders.ts";

/**
 * A shard with many orders is rebuilt while buyers keep firing, and everything that takes part in it dies in the middle,
 * one after the other: each time it is just another start.
 */
const HISTORY = 60_000;
const UNITS = 100;

let world: StackWorld;
beforeAll(async () => {
  world = await StackWorld.start({ shards: 1, restartAfterMs: RESTART_AFTER_MS });
}, 180_000);
afterAll(() => world?.close());

const sql = async (text: string): Promise<void> => {
  const client = new Client({ connectionString: (await world.stack.info()).databaseUrl });
  await client.connect();
  await client.query(text);
  await client.end();
};

/** Orders of an earlier epoch, as if that many had been sold: only Postgres knows them until the shard is rebuilt. */
const writeHistory = async (saleId: string, epoch: number): Promise<void> => {
  await sql(`INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms)
    SELECT '${saleId}', 'h' || n, '', 0, ${epoch}, 1000000 + n / 500, n % 500, 1, 'pending_payment', 0 FROM generate_series(1, ${HISTORY}) n`);
  await sql(`UPDATE sale_shards SET sold = sold + ${HISTORY} WHERE sale_id = '${saleId}'`);
};

interface Seen {
  readonly holder: string;
  readonly phase: string;
  readonly orders: number;
  readonly ofUnits: number;
}

/**
 * Resolves in the middle of a rebuild.
 * @param not a coordinator that died in one: the last that was heard of it does not count
 * @returns what an operator sees of it
 */
const midRebuild = async (not = ""): Promise<Seen> => {
  let seen: Seen | undefined;
  await until(
    async () => {
      const attempt = (await world.shards().catch(() => []))[0]?.attempt;
      seen = attempt ?? undefined;
      return (
        attempt?.phase === "restore" && attempt.result === null && attempt.holder !== not && attempt.orders > 0 && attempt.orders < HISTORY
      );
    },
    "a rebuild to be under way",
    60_000,
    5,
  );
  return seen as Seen;
};

/**
 * A program dies in the middle of a rebuild, and nothing else does; resolves when the shard sells again.
 * @param not as for `midRebuild`
 * @returns the shard when the program died, and when it sold again
 */
const diesAlone = async (part: string, not = ""): Promise<readonly [ShardFacts, ShardFacts]> => {
  await midRebuild(not);
  const then = (await world.shards())[0] as ShardFacts;
  expect(then).toMatchObject({ state: "recovering", mode: "rebuild" });
  world.stack.kill(part);
  let now: ShardFacts | undefined;
  const isOpen = async (): Promise<boolean> => {
    now = (await world.shards().catch(() => []))[0];
    return now?.state === "open";
  };
  await until(isOpen, `the shard to sell after the death of the ${part}`, 90_000);
  return [then, now as unknown as ShardFacts];
};

describe("a rebuild of a shard with many orders", { timeout: 400_000 }, () => {
  it("is begun anew when Redis, a worker or the coordinator dies in its middle; nothing is lost, nothing sold twice", async () => {
    const saleId = "history";
    await world.openSale(saleId, HISTORY + UNITS);
    const early = crowd(world, saleId, 0, 20);
    await early.done;
    const before = await confirmedOrders(world, saleId, winnersOf(early.answers));
    expect(before.size).toBe(20);
    // nobody buys at this moment: Redis does not know of these orders and would sell their units again
    await writeHistory(saleId, 1);
    await restartWith(world, ["redis-0"], empty);
    const firing = crowd(world, saleId, 20, UNITS + 40);
    const seen = await midRebuild();
    expect(seen.ofUnits).toBe(HISTORY + 20);
    expect(seen.orders).toBeGreaterThan(0);
    await restartWith(world, ["redis-0"], empty);
    let dead = "";
    for (const part of ["workers", "coordinator"]) {
      dead = (await midRebuild()).holder;
      world.stack.kill(part);
      await until(
        async () => (await world.shards().catch(() => []))[0]?.attempt?.result !== undefined,
        "the workers to answer again",
        60_000,
      );
      await restartWith(world, ["redis-0"], empty);
    }
    // now Redis stays as it is: what goes on has only the death of a program to recover from
    const [, open] = await diesAlone("workers", dead);
    // what the dead worker had staged is not kept
    expect(open.mode).toBe("rebuild");
    await firing.done;
    await world.stack.ready();
    expect(winnersOf(firing.answers)).toHaveLength(UNITS - 20);
    const orders = await confirmedOrders(world, saleId, [...before.keys(), ...winnersOf(firing.answers)]);
    for (const [uid, orderId] of new Map([...before, ...ordersOf(firing.answers)])) expect(orders.get(uid), uid).toBe(orderId);

    await restartWith(world, ["redis-0"], empty);
    const again = crowd(world, saleId, 0, UNITS + 40);
    // the worker may have finished meanwhile, and the next coordinator keeps that: in an epoch of its own
    const [then, now] = await diesAlone("coordinator");
    expect(now.epoch).toBeGreaterThan(then.epoch);
    await again.done;
    expect(ordersOf(again.answers)).toEqual(orders);
    expect(await world.buy(saleId, "h1")).toMatchObject({ code: "confirmed" });
    await expectSoldOut(world, saleId, HISTORY + UNITS);
  });
});
