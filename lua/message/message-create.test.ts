import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../../test/harness/index.ts";
import { messageKey, messageKeys } from "../core/keys.ts";
import { changeMessages, type ChangeMessageAnswer, type MessageChange } from "./message-change.ts";
import { createMessages, type CreateMessageAnswer } from "./message-create.ts";
import { MOST_MESSAGES } from "./message-fields.ts";
import { countMessages, listMessages, MessageList, readMessages } from "./message-read.ts";
import { claimMessages } from "./message-claim.ts";
import { notePlacement } from "./message-placement.ts";
import { pullMessages } from "./message-pull.ts";
import { purgeMessages } from "./message-purge.ts";
import { changeTopic, readTopic } from "./message-topic.ts";
import { yieldMessage } from "./message-yield.ts";

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});
beforeEach(async () => {
  await redis.flushall();
});

const shard = 3;
const STORED = { v: "1", s: "prepared", d: "{}" };
const created = (gid: string, dueAtMs: number): Parameters<typeof createMessages>[1]["messages"][number] => ({
  gid,
  createdAtMs: 1_000,
  dueAtMs,
  state: "prepared",
  definition: "{}",
  untilMs: Number.MAX_SAFE_INTEGER,
});
const create = async (gid: string, dueAtMs: number): Promise<CreateMessageAnswer | undefined> =>
  (await createMessages(redis, { shard, messages: [created(gid, dueAtMs)] }))[0];
const changed = (gid: string, version: number, more: Partial<MessageChange> = {}): MessageChange => ({
  gid,
  version,
  dueAtMs: "keep",
  deadAtMs: "keep",
  expiresAtMs: "never",
  state: "submitted",
  definition: "",
  reason: "",
  ...more,
});
const change = async (gid: string, version: number, more: Partial<MessageChange> = {}): Promise<ChangeMessageAnswer | undefined> =>
  (await changeMessages(redis, { shard, changes: [changed(gid, version, more)] }))[0];

describe("message-create", () => {
  it("stores a message once; a second time it answers what is there", async () => {
    expect(await create("a", 5_000)).toEqual({ status: "ok" });
    expect(await create("a", 9_000)).toEqual({ status: "exists", fields: STORED });
    expect(await readMessages(redis, { shard, gids: ["a", "b"] })).toEqual([{ fields: STORED, dueAtMs: 5_000 }, undefined]);
    expect(await redis.ttl(messageKey(shard, "a"))).toBe(-1);
  });

  it("takes many, also one gid twice, and as many as it may", async () => {
    const answers = await createMessages(redis, { shard, messages: [created("a", 1), created("b", 2), created("a", 3)] });
    expect(answers).toEqual([{ status: "ok" }, { status: "ok" }, { status: "exists", fields: STORED }]);
    expect(await redis.zrange(messageKeys(shard).due, "0", "-1", "WITHSCORES")).toEqual(["a", "1", "b", "2"]);
    const many = (count: number): ReturnType<typeof createMessages> =>
      createMessages(redis, { shard, messages: Array.from({ length: count }, (_, i) => created(`many-${i}`, i)) });
    expect(await many(MOST_MESSAGES)).toHaveLength(MOST_MESSAGES);
    await expect(many(MOST_MESSAGES + 1)).rejects.toThrow("takes 4 to 259 keys");
  });
});

describe("message-change", () => {
  it("changes the version that was read and no other", async () => {
    await create("a", 5_000);
    expect(await change("a", 1, { dueAtMs: 7_000, reason: "why" })).toEqual({ status: "ok" });
    const fields = { v: "2", s: "submitted", d: "{}", e: "why" };
    expect(await change("a", 1, { dueAtMs: 9_000 })).toEqual({ status: "changed", fields });
    expect(await readMessages(redis, { shard, gids: ["a"] })).toEqual([{ fields, dueAtMs: 7_000 }]);
    expect(await change("gone", 1)).toEqual({ status: "changed", fields: undefined });
  });

  it("takes many, also one message twice: the second finds what the first stored", async () => {
    await create("a", 5_000);
    await create("b", 5_000);
    const changes = [
      changed("a", 1, { dueAtMs: "none" }),
      changed("b", 1),
      changed("a", 2, { dueAtMs: 6_000, definition: "{2}" }),
      changed("a", 2),
    ];
    const now = { v: "3", s: "submitted", d: "{2}", e: "" };
    expect(await changeMessages(redis, { shard, changes })).toEqual([
      { status: "ok" },
      { status: "ok" },
      { status: "ok" },
      { status: "changed", fields: now },
    ]);
    expect(await readMessages(redis, { shard, gids: ["a", "b"] })).toMatchObject([
      { fields: now, dueAtMs: 6_000 },
      { fields: { v: "2", d: "{}" }, dueAtMs: 5_000 },
    ]);
  });

  it("a finished message expires, waits for nothing and is no dead letter", async () => {
    await create("a", 5_000);
    await change("a", 1, { deadAtMs: 8_000, dueAtMs: "none" });
    expect(await countMessages(redis, shard)).toEqual({ waiting: 0, dead: 1, all: 1 });
    expect(await listMessages(redis, { shard, list: MessageList.dead, fromMs: 0, offset: 0, count: 10 })).toEqual(["a"]);
    await change("a", 2, { dueAtMs: "none", deadAtMs: "none", expiresAtMs: Date.now() + 60_000 });
    expect(await countMessages(redis, shard)).toEqual({ waiting: 0, dead: 0, all: 1 });
    expect(await redis.pttl(messageKey(shard, "a"))).toBeGreaterThan(0);
  });
});

describe("message-claim", () => {
  it("takes what is due, longest first, and holds it", async () => {
    await create("late", Date.now() + 60_000);
    await create("second", 2_000);
    await create("first", 1_000);
    expect((await claimMessages(redis, { shard, limit: 10, holdMs: 60_000 })).gids).toEqual(["first", "second"]);
    expect((await claimMessages(redis, { shard, limit: 10, holdMs: 60_000 })).gids).toEqual([]);
  });

  it("gives back what was not finished in time, as many as asked for", async () => {
    for (const gid of ["a", "b", "c"]) await create(gid, 1_000);
    expect((await claimMessages(redis, { shard, limit: 2, holdMs: 0 })).gids).toHaveLength(2);
    expect((await claimMessages(redis, { shard, limit: 1_000, holdMs: 0 })).gids).toHaveLength(3);
    await expect(claimMessages(redis, { shard, limit: 1_001, holdMs: 0 })).rejects.toThrow("limit must be 1 to 1000");
  });
});

describe("message-claim's putting off", () => {
  it("moves what the claim before took, not what was moved since or has ended", async () => {
    for (const gid of ["full", "pulled", "ended"]) await create(gid, 1_000);
    const { nowMs } = await claimMessages(redis, { shard, limit: 10, holdMs: 60_000 });
    await pullMessages(redis, { shard, laterThanMs: 0, limit: 10 });
    await redis.zadd(messageKeys(shard).due, nowMs + 60_000, "full");
    await change("ended", 1, { dueAtMs: "none" });
    const laterMs = new Map(["full", "pulled", "ended"].map((gid) => [gid, 5_000]));
    const next = await claimMessages(redis, { shard, limit: 10, holdMs: 0, putOff: { dueAgainMs: nowMs + 60_000, laterMs } });
    expect(next.gids).toEqual(["pulled"]);
    expect(await redis.zscore(messageKeys(shard).due, "full")).toBe(String(nowMs + 65_000));
    expect(await redis.zscore(messageKeys(shard).due, "ended")).toBeNull();
  });
});

describe("message-pull", () => {
  it("makes due now what is due later than asked", async () => {
    await create("soon", Date.now() + 5_000);
    await create("far", Date.now() + 500_000);
    await create("farther", Date.now() + 900_000);
    expect(await pullMessages(redis, { shard, laterThanMs: 60_000, limit: 1 })).toEqual({ pulled: 1, left: 1 });
    expect((await claimMessages(redis, { shard, limit: 10, holdMs: 60_000 })).gids).toEqual(["far"]);
  });
});

describe("message-purge", () => {
  it("takes expired ones out of the list, but not one that was stored anew", async () => {
    for (const gid of ["gone", "again"]) {
      await create(gid, 1_000);
      await change(gid, 1, { dueAtMs: "none", expiresAtMs: 2_000 });
    }
    expect(await redis.exists(messageKey(shard, "again"))).toBe(0);
    expect(await create("again", 5_000)).toEqual({ status: "ok" });
    expect(await purgeMessages(redis, { shard, limit: 10 })).toBe(1);
    expect(await redis.zrange(messageKeys(shard).messages, "0", "-1")).toEqual(["again"]);
  });
});

describe("message-placement", () => {
  it("remembers by which lists messages that are here may have been placed, and forgets a list that left none", async () => {
    const note = async (count: number, marginMs = 60_000): Promise<readonly number[]> =>
      [...(await notePlacement(redis, { shard, count, marginMs })).notedAtMs.keys()].toSorted((a, b) => a - b);
    expect(await note(2)).toEqual([2]);
    await createMessages(redis, { shard, messages: [{ ...created("old", 1), createdAtMs: Date.now() }] });
    expect(await note(4)).toEqual([2, 4]);
    expect(await note(0)).toEqual([2, 4]);
    // the message of the old list is gone, a newer one is the oldest
    await redis.zadd(messageKeys(shard).placements, "XX", "1000", "2");
    expect(await note(4)).toEqual([4]);
  });
});

describe("message-yield", () => {
  const yields = (gid: string, count: number): ReturnType<typeof yieldMessage> =>
    yieldMessage(redis, { shard, gid, count, holdMs: 60_000 });

  it("bars a message from a place until it is forgotten, and tells one that is there", async () => {
    expect(await yields("a", 2)).toEqual({ status: "ok" });
    expect(await create("a", 5_000)).toEqual({ status: "elsewhere", count: 2 });
    expect(await readMessages(redis, { shard, gids: ["a"] })).toEqual([undefined]);
    expect(await change("a", 1)).toEqual({ status: "changed", fields: undefined });
    expect(await redis.pttl(messageKey(shard, "a"))).toBeGreaterThan(0);
    await create("b", 5_000);
    expect(await yields("b", 2)).toEqual({ status: "exists", fields: STORED });
    expect(await redis.ttl(messageKey(shard, "b"))).toBe(-1);
  });

  it("leads to the shortest list only", async () => {
    expect(await yields("a", 3)).toEqual({ status: "ok" });
    expect(await yields("a", 2)).toEqual({ status: "ok" });
    expect(await yields("a", 3)).toEqual({ status: "elsewhere", count: 2 });
    expect(await create("a", 5_000)).toEqual({ status: "elsewhere", count: 2 });
  });

  it("a creator whose knowledge is too old stores nothing", async () => {
    const [answer] = await createMessages(redis, { shard, messages: [{ ...created("a", 1), untilMs: Date.now() - 1_000 }] });
    expect([answer, await redis.exists(messageKey(shard, "a"))]).toEqual([{ status: "late" }, 0]);
  });
});

describe("message-topic", () => {
  it("replaces what was read and nothing else", async () => {
    expect(await changeTopic(redis, { topic: "t", expected: "", value: "[1]" })).toEqual({ status: "ok" });
    expect(await changeTopic(redis, { topic: "t", expected: "", value: "[2]" })).toEqual({ status: "changed", value: "[1]" });
    expect(await readTopic(redis, "t")).toBe("[1]");
    expect(await changeTopic(redis, { topic: "t", expected: "[1]", value: "" })).toEqual({ status: "ok" });
    expect(await readTopic(redis, "t")).toBe("");
  });
});
