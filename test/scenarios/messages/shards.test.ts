import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { messageKey, messageKeys } from "#lua";
import { shardOf } from "#protocol";
import { until } from "../../harness/index.ts";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type Stores } from "../../harness/messages/coordinator.ts";
import { CoordinatorProcess } from "../../harness/messages/process.ts";
import { answer, Services } from "../../harness/messages/services.ts";

let stores: Stores;
let services: Services;
let servers: Redis[];
beforeEach(async () => {
  [stores, services] = await Promise.all([startStores(4), Services.start()]);
  servers = stores.redis.map(({ url }) => new Redis(url));
});
afterEach(async () => {
  for (const redis of servers) redis.disconnect();
  await Promise.all([services.stop(), stores.stop()]);
});

const gidsOf = (count: number, of: (gid: string) => boolean): readonly string[] => {
  const gids: string[] = [];
  while (gids.length < count) {
    const gid = newGid("shards");
    if (of(gid)) gids.push(gid);
  }
  return gids;
};

const prepareAll = async (api: Api, gids: readonly string[], queryUrl: string): Promise<void> => {
  for (const gid of gids)
    expect((await api.post("/prepare", message(gid, [[`${services.url}/branch`, "{}"]], { query_prepared: queryUrl }))).status).toBe(200);
};

describe("messages over shards", () => {
  it("live on the shard of their gid, and each shard's are delivered", async () => {
    const coordinator = await startCoordinator(stores);
    const api = new Api(coordinator.url);
    const gids = gidsOf(40, () => true);
    for (const gid of gids) await api.post("/submit", message(gid, [[`${services.url}/branch`, "{}"]]));
    await Promise.all(gids.map((gid) => api.until(gid, "succeed")));
    for (const gid of gids) expect(await servers[shardOf(gid, 4)]?.exists(messageKey(shardOf(gid, 4), gid))).toBe(1);
    expect(new Set(gids.map((gid) => shardOf(gid, 4))).size).toBe(4);
    await coordinator.stop();
  });

  it("a longer list of shards loses nothing: what moved is found, submitted once, and swept where it is", async () => {
    const never = { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "600000" };
    const before = await startCoordinator(stores, never, 2);
    const moved = gidsOf(6, (gid) => shardOf(gid, 2) !== shardOf(gid, 4));
    const query = services.on("/query", answer(200));
    await prepareAll(new Api(before.url), moved, query);
    await before.stop();

    const after = await startCoordinator(stores, never, 4);
    const api = new Api(after.url);
    const [submitted = "", aborted = "", repeated = "", queried = "", stopped = "", both = ""] = moved;
    for (const gid of moved) expect(await api.status(gid)).toBe("prepared");
    // a repeat must not make a second message at the new home
    await prepareAll(api, [repeated], query);
    expect((await api.post("/submit", message(submitted, [[`${services.url}/branch`, "{}"]]))).status).toBe(200);
    expect((await api.post("/submit", message(both, [[`${services.url}/branch`, "{}"]]))).status).toBe(200);
    expect((await api.post("/submit", message(both, [[`${services.url}/branch`, "{}"]]))).status).toBe(200);
    expect((await api.post("/abort", { gid: aborted, trans_type: "msg" })).status).toBe(200);
    expect((await api.post("/forceStop", { gid: stopped })).status).toBe(200);
    expect((await api.post("/resetNextCronTime", { gid: queried })).status).toBe(200);
    await Promise.all([submitted, queried, both].map((gid) => api.until(gid, "succeed")));
    expect(await api.status(aborted)).toBe("failed");
    expect(services.at("/branch", both)).toHaveLength(1);
    for (const gid of moved) expect(await servers[shardOf(gid, 4)]?.exists(messageKey(shardOf(gid, 4), gid))).toBe(0);
    await after.stop();
  });

  it("a shorter list of those that take new messages still finishes the old ones", async () => {
    const before = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "1500" }, 4);
    const old = gidsOf(4, (gid) => shardOf(gid, 4) === 3);
    await prepareAll(new Api(before.url), old, services.on("/query", answer(200)));
    await before.stop();
    const after = await startCoordinator(stores, { DOORBUSTER_MESSAGE_SHARDS: "2" }, 4);
    const api = new Api(after.url);
    const fresh = gidsOf(20, () => true);
    for (const gid of fresh) await api.post("/submit", message(gid, [[`${services.url}/branch`, "{}"]]));
    await Promise.all([...old, ...fresh].map((gid) => api.until(gid, "succeed")));
    for (const gid of fresh)
      expect(shardOf(gid, 2)).toBe(await servers[0]?.exists(messageKey(0, gid)).then((there) => (there === 1 ? 0 : 1)));
    await after.stop();
  });

  it("a gid that two coordinators of different numbers take at the same time has one record, in either order of the change", async () => {
    const quiet = { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "600000" };
    const count = (shards: number): Readonly<Record<string, string>> => ({ ...quiet, DOORBUSTER_MESSAGE_SHARDS: String(shards) });
    const records = async (gid: string): Promise<number> =>
      (await Promise.all(servers.map((redis, shard) => redis.hexists(messageKey(shard, gid), "v")))).reduce((sum, one) => sum + one, 0);
    for (const [earlier, later] of [
      [2, 4],
      [4, 2],
    ] as const) {
      // the first has read its notes and does not look again for seconds: it does not know of the second
      const first = await startCoordinator(stores, count(earlier), 4);
      const second = await CoordinatorProcess.start(stores, count(later), 4);
      try {
        const apis = [new Api(first.url), new Api(second.url)] as const;
        const either = (i: number): Api => apis[(i % 2) as 0 | 1];
        const body = (gid: string): unknown => message(gid, [], { query_prepared: `${services.url}/query` });
        const gids = gidsOf(60, (gid) => shardOf(gid, 2) !== shardOf(gid, 4));
        const answers = await Promise.all(gids.flatMap((gid) => apis.map((api) => api.post("/prepare", body(gid)))));
        expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
        expect(await Promise.all(gids.map(records))).toEqual(gids.map(() => 1));
        // either of them finds it, and a message has one life
        await Promise.all(gids.map((gid, i) => either(i).post("/abort", { gid, trans_type: "msg" })));
        expect(await Promise.all(gids.map((gid, i) => either(i + 1).status(gid)))).toEqual(gids.map(() => "failed"));
      } finally {
        await second.kill();
        await first.stop();
      }
      await Promise.all(servers.map((redis) => redis.flushall()));
    }
  });

  it("an unfinished one never expires, a finished one does, and then the gid is new again", async () => {
    const coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_RETENTION_MS: "300" }, 1);
    const api = new Api(coordinator.url);
    const [redis] = servers;
    const open = newGid("month");
    const url = services.on("/month", answer(500));
    await api.post("/submit", message(open, [[url, "{}"]], { retry_interval: 2_592_000 }));
    await until(async () => Number((await api.transaction(open))?.["retry_count"]) === 1, "the first round");
    // nothing of it has a time to live, so a month changes nothing but how long it has been due
    expect(await redis?.ttl(messageKey(0, open))).toBe(-1);
    for (const key of (await redis?.keys("{s0}:*message*")) ?? []) expect(await redis?.ttl(key)).toBe(-1);
    expect(await redis?.ttl(messageKeys(0).due)).toBe(-1);
    await redis?.zadd(messageKeys(0).due, "XX", Date.now() - 30 * 86_400_000, open);
    services.on("/month", answer(200));
    await api.until(open, "succeed");

    await until(async () => (await api.status(open)) === "none", "the finished one to expire");
    await until(async () => (await redis?.zcard(messageKeys(0).messages)) === 0, "the list to be purged");
    expect((await api.get("/all")).body).toEqual({ transactions: [], next_position: "" });
    expect(await redis?.exists(messageKeys(0).due, messageKeys(0).finished, messageKeys(0).dead)).toBe(0);
    expect((await api.post("/prepare", message(open, [], { query_prepared: url }))).status).toBe(200);
    await coordinator.stop();
  });
});
