import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it } from "vitest";
import { shardKeys } from "#lua";
import { Fair, until } from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** Somebody writes into an outbox: what deploy/OPERATING.md says of `entry`, from the finding to the repair. */
const UNITS = 100;
const EARLY = 40;

let fair: Fair;
let redis: Redis | undefined;
beforeAll(async () => {
  fair = await Fair.open({ shards: 2 });
}, 180_000);
afterAll(async () => {
  redis?.disconnect();
  await fair?.close();
});

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly alert?: boolean;
  readonly code?: number;
  readonly err?: { readonly message: string };
}
const log = async (): Promise<readonly Line[]> => {
  const text = await readFile(join(fair.stack.folder, "logs", "coordinator.log"), "utf8");
  return text.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));
};
/** how often the coordinator has counted it; NaN while it does not answer */
const counted = async (): Promise<number> => {
  const { coordinator } = await fair.stack.info();
  const text = await fetch(`${coordinator}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
  return Number(/^doorbuster_coordinator_broken_total\{invariant="entry"\} (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
};
const stateOf = async (shard: number): Promise<string | undefined> => (await fair.shards().catch(() => []))[shard]?.state;

it("ends the coordinator once; its successor leaves the shard closed until it is repaired, and nothing is lost", async () => {
  await fair.openStocked("here", UNITS);
  const [shard = 0] = await fair.shardsOf("here");
  const early = crowd(fair, "here", 0, EARLY);
  await early.done;
  const before = await confirmedOrders(fair, "here", winnersOf(early.told));
  expect(before.size).toBe(EARLY);
  await fair.auditAtRest("here");
  const other = 1 - shard;
  await fair.openStocked("there", UNITS);
  expect(await fair.shardsOf("there")).toEqual([other]);
  const pids = await fair.stack.pids("coordinator");

  redis = new Redis((await fair.stack.info()).redisShards.split(",")[shard] as string).on("error", () => undefined);
  const { open, epoch, outbox } = shardKeys(shard);
  await redis.xadd(outbox, `${await redis.get(epoch)}-*`, "somebody's", "entry");
  // at once: what is sold behind that entry could not be carried
  await until(async () => (await log()).some(({ level }) => level === 60), "the coordinator to find it", 20_000);
  expect(await redis.exists(open)).toBe(0);
  await until(async () => (await counted()) > 1, "its successor to find it again", 60_000);
  const fatal = (await log()).filter(({ level }) => level === 60);
  expect(fatal).toMatchObject([{ alert: true, err: { message: expect.stringMatching(/^BROKEN entry at \{s\d\}:outbox: /) } }]);
  expect((await log()).filter(({ code }) => code === 70)).toHaveLength(1);
  const successor = await fair.stack.pids("coordinator");
  expect(successor[0]).toBe(pids[0]);
  expect(successor[1]).not.toBe(pids[1]);

  await until(async () => (await stateOf(other)) === "open", "the other shard to be open", 30_000);
  const there = crowd(fair, "there", 0, UNITS + 10);
  await there.done;
  await expectSoldOut(fair, "there", UNITS);
  const found = await counted();
  await until(async () => (await counted()) > found, "it to be found once more", 30_000);
  expect((await fair.once("POST", fair.urlOf("here", "late"))).code).toBe("recovering");
  expect(await redis.exists(open)).toBe(0);
  expect(await fair.stack.pids("coordinator")).toEqual(successor);

  await fair.admin(`/shards/${shard}/discard`, { loseUnconfirmed: true });
  await until(async () => (await stateOf(shard)) === "open", "the shard to be open again", 60_000);
  await expectStillTheirs(fair, "here", before);
  await crowd(fair, "here", EARLY, UNITS + 20).done;
  await expectSoldOut(fair, "here", UNITS);
  expect(await fair.stack.pids("coordinator")).toEqual(successor);
}, 240_000);
