import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messageKey, messageKeys } from "#lua";
import { Barrier, Coordinator, Message, statusOf } from "../../../coordinator/messages/client/index.ts";
import { until } from "../../harness/index.ts";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type Stores } from "../../harness/messages/coordinator.ts";
import { answer, Services } from "../../harness/messages/services.ts";

const MONTH_MS = 30 * 86_400_000;
const MONTH_S = MONTH_MS / 1_000;

let stores: Stores;
let services: Services;
let redis: Redis;
beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
  redis = new Redis(stores.redis[0]?.url ?? "");
});
afterAll(async () => {
  redis?.disconnect();
  await Promise.all([services?.stop(), stores?.stop()]);
});

const earlier = (ms: string): string => (Number(ms) === 0 ? ms : String(Number(ms) - MONTH_MS));

/** `s` of a message's hash: state, rounds, failures, dead, created, updated, finished, branches done (record.ts). */
const agedState = (state: string): string => {
  const [name, rounds, failures, dead, created = "0", updated = "0", finished = "0", done = ""] = state.split(" ");
  const branches = done.split(",").map((at) => (at === "" ? at : earlier(at)));
  return [name, rounds, failures, dead, earlier(created), earlier(updated), earlier(finished), branches.join(",")].join(" ");
};

/**
 * A month goes by for a Redis that nobody uses meanwhile. Its clock cannot be moved (libfaketime ends redis-server), so every
 * time that it holds is moved instead: what was to come in an hour was due a month less an hour ago, and what would have
 * expired is gone.
 */
const passMonth = async (): Promise<void> => {
  const keys = messageKeys(0);
  for (const key of await redis.keys("*")) {
    const leftMs = await redis.pttl(key);
    if (leftMs > MONTH_MS) await redis.pexpire(key, leftMs - MONTH_MS);
    else if (leftMs >= 0) await redis.del(key);
  }
  for (const list of [keys.due, keys.messages, keys.finished, keys.dead, keys.placements]) {
    const scored = await redis.zrangebyscore(list, "-inf", "+inf", "WITHSCORES");
    for (let i = 0; i < scored.length; i += 2) await redis.zadd(list, earlier(scored[i + 1] ?? "0"), scored[i] ?? "");
  }
  for (const key of await redis.keys(messageKey(0, "*"))) await redis.hset(key, "s", agedState((await redis.hget(key, "s")) ?? ""));
};

describe("messages that a month goes by over, with no coordinator", () => {
  it("are all there and go on; what had ended is gone", async () => {
    const variables = { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "3600000", DOORBUSTER_MESSAGE_ROUNDS: "2" };
    const before = await startCoordinator(stores, variables);
    const api = new Api(before.url);
    const client = new Coordinator({ url: before.url });
    const names = ["stepped", "not stepped", "failing", "delayed", "dead", "ended", "stopped"] as const;
    const gids = Object.fromEntries(names.map((name) => [name, newGid(name.replaceAll(" ", "-"))])) as Record<
      (typeof names)[number],
      string
    >;
    const query = services.on("/query", async (received, response) => {
      response.writeHead(statusOf(await Barrier.fromRequest(received.query).queryPrepared(redis))).end();
    });
    const branch = `${services.url}/branch`;
    const away = services.on("/away", answer(503));
    // a caller that died between its step and the submit, and one that died before its step
    await redis.set("stock", 1);
    for (const name of ["stepped", "not stepped"] as const) await new Message(gids[name], client).add(branch, {}).prepare(query);
    await Barrier.ofMessage(gids.stepped).checkAdjustAmount(redis, "stock", -1);
    const submit = (name: (typeof names)[number], url: string, more: Readonly<Record<string, unknown>> = {}): Promise<unknown> =>
      api.post("/submit", message(gids[name], [[url, "{}"]], more));
    await submit("failing", away, { retry_interval: MONTH_S });
    await submit("delayed", branch, { custom_data: JSON.stringify({ delay: MONTH_S - 60 }) });
    await submit("dead", away);
    await submit("ended", branch);
    await submit("stopped", away, { retry_interval: MONTH_S });
    await until(async () => Number((await api.transaction(gids.failing))?.["retry_count"]) === 1, "a failed round");
    await until(async () => (await api.transaction(gids.dead))?.["dead"] === true, "a dead letter");
    await api.until(gids.ended, "succeed");
    await api.post("/forceStop", { gid: gids.stopped });
    expect(services.at("/branch", gids.delayed)).toEqual([]);
    await client.close();
    await before.stop();

    await passMonth();
    services.on("/away", answer(200));
    const after = await startCoordinator(stores, variables);
    try {
      const later = new Api(after.url);
      await Promise.all((["stepped", "failing", "delayed"] as const).map((name) => later.until(gids[name], "succeed")));
      await later.until(gids["not stepped"], "failed");
      for (const name of ["stepped", "delayed"] as const) expect(services.at("/branch", gids[name])).toHaveLength(1);
      expect(await redis.get("stock")).toBe("0");
      const { body } = await later.get("/deadLetters");
      expect((body["transactions"] as { gid: string }[]).map(({ gid }) => gid)).toEqual([gids.dead]);
      await later.post("/deadLetters/retry", { gid: gids.dead });
      await later.until(gids.dead, "succeed");
      expect([await later.status(gids.ended), await later.status(gids.stopped)]).toEqual(["none", "none"]);
    } finally {
      await after.stop();
    }
  });
});
