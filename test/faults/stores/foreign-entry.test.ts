import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { shardKeys } from "#lua";
import { StackWorld, until } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** Somebody writes into an outbox: what deploy/OPERATING.md says of `entry`, from the violation to the repair. */
const UNITS = 100;
const EARLY = 40;

let world: StackWorld;
let redis: Redis | undefined;
beforeAll(async () => {
  world = await StackWorld.start({ shards: 2 });
}, 180_000);
afterAll(async () => {
  redis?.disconnect();
  await world?.close();
});

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly alert?: boolean;
  readonly code?: number;
  readonly err?: { readonly message: string };
}
const log = async (): Promise<readonly Line[]> => {
  const text = await readFile(join(world.stack.folder, "logs", "coordinator.log"), "utf8");
  return text.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));
};
/** how often the coordinator has counted it; NaN while it does not answer */
const counted = async (): Promise<number> => {
  const { metrics } = await world.stack.info();
  const text = await fetch(`${metrics.coordinator}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
  return Number(/^doorbuster_coordinator_invariant_violations_total\{invariant="entry"\} (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
};
const stateOf = async (shard: number): Promise<string | undefined> => (await world.shards().catch(() => []))[shard]?.state;

it("ends the coordinator once; its successor leaves the shard closed until it is repaired, and nothing is lost", async () => {
  await world.openStocked("here", UNITS);
  const [shard = 0] = await world.shardsOf("here");
  const early = crowd(world, "here", 0, EARLY);
  await early.done;
  const before = await confirmedOrders(world, "here", winnersOf(early.answers));
  expect(before.size).toBe(EARLY);
  await world.auditAtRest("here");
  const other = 1 - shard;
  await world.openStocked("there", UNITS);
  expect(await world.shardsOf("there")).toEqual([other]);
  const pids = await world.stack.pids("coordinator");

  redis = new Redis((await world.stack.info()).redisShards.split(",")[shard] as string).on("error", () => undefined);
  const { open, epoch, outbox } = shardKeys(shard);
  await redis.xadd(outbox, `${await redis.get(epoch)}-*`, "somebody's", "entry");
  // at once: what is sold behind that entry could not be carried
  await until(async () => (await log()).some(({ level }) => level === 60), "the coordinator to find it", 20_000);
  expect(await redis.exists(open)).toBe(0);
  await until(async () => (await counted()) > 1, "its successor to find it again", 60_000);
  const fatal = (await log()).filter(({ level }) => level === 60);
  expect(fatal).toMatchObject([{ alert: true, err: { message: expect.stringMatching(/^INVARIANT entry at \{s\d\}:outbox: /) } }]);
  expect((await log()).filter(({ code }) => code === 70)).toHaveLength(1);
  const successor = await world.stack.pids("coordinator");
  expect(successor[0]).toBe(pids[0]);
  expect(successor[1]).not.toBe(pids[1]);

  await until(async () => (await stateOf(other)) === "open", "the other shard to be open", 30_000);
  const there = crowd(world, "there", 0, UNITS + 10);
  await there.done;
  await expectSoldOut(world, "there", UNITS);
  const found = await counted();
  await until(async () => (await counted()) > found, "it to be found once more", 30_000);
  expect((await world.once("POST", world.urlOf("here", "late"))).code).toBe("recovering");
  expect(await redis.exists(open)).toBe(0);
  expect(await world.stack.pids("coordinator")).toEqual(successor);

  await world.admin(`/shards/${shard}/discard`, { loseUnconfirmed: true });
  await until(async () => (await stateOf(shard)) === "open", "the shard to be open again", 60_000);
  await expectStillTheirs(world, "here", before);
  await crowd(world, "here", EARLY, UNITS + 20).done;
  await expectSoldOut(world, "here", UNITS);
  expect(await world.stack.pids("coordinator")).toEqual(successor);
}, 240_000);
