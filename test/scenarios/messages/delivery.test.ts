import { createServer } from "node:net";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Coordinator } from "../../../coordinator/messages/client/index.ts";
import { messageKey, messageKeys } from "#lua";
import { until } from "../../harness/index.ts";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { answer, inTurn, Services } from "../../harness/messages/services.ts";

const ROUNDS = 4;
let stores: Stores;
let coordinator: RunningCoordinator;
let services: Services;
let elsewhere: Services;
let api: Api;

beforeAll(async () => {
  [stores, services, elsewhere] = await Promise.all([startStores(2), Services.start(), Services.start()]);
  coordinator = await startCoordinator(stores, {
    DOORBUSTER_MESSAGE_ROUNDS: String(ROUNDS),
    DOORBUSTER_MESSAGE_HOST_CALLS: "4",
    DOORBUSTER_MESSAGE_ALERT_URL: `${services.url}/alert`,
  });
  api = new Api(coordinator.url);
});
afterAll(async () => {
  await coordinator?.stop();
  await Promise.all([services?.stop(), elsewhere?.stop(), stores?.stop()]);
});

const submit = async (steps: readonly (readonly [string, string])[], more: Readonly<Record<string, unknown>> = {}): Promise<string> => {
  const gid = newGid("delivery");
  expect(await api.post("/submit", message(gid, steps, more))).toEqual({ status: 200, body: { dtm_result: "SUCCESS" } });
  return gid;
};

describe("a message that somebody has spoiled in Redis", () => {
  it("is named in the lists, and keeps nobody else's from being shown and delivered", async () => {
    const [url, queryUrl] = [services.on("/spoiled", answer(200)), services.on("/spoiled-query", answer(200))];
    // not due, so that nobody is at work on them while they are spoiled
    const all = Array.from({ length: 24 }, () => newGid("spoiled"));
    for (const gid of all)
      expect((await api.post("/prepare", message(gid, [[url, "{}"]], { query_prepared: queryUrl, timeout_to_fail: 600 }))).status).toBe(
        200,
      );
    const spoilers: readonly ((redis: Redis, key: string) => Promise<unknown>)[] = [
      (redis, key) => redis.hset(key, "s", "unheard 0 0 0 1 1 0 0"),
      (redis, key) => redis.hset(key, "s", "prepared 0 0 0 1 8640000000000001 0 0"),
      (redis, key) => redis.hset(key, "d", "{"),
      (redis, key) => redis.hset(key, "d", '{"steps":[],"branches":[{}]}'),
      async (redis, key) => (await redis.del(key), redis.set(key, "no hash")),
    ];
    const spoiled = new Set<string>();
    for (const [shard, server] of stores.redis.entries()) {
      const redis = new Redis(server.url);
      const here: string[] = [];
      for (const gid of all) if ((await redis.exists(messageKey(shard, gid))) === 1) here.push(gid);
      for (const [at, spoil] of spoilers.entries()) {
        const gid = here[at];
        if (gid === undefined) continue;
        await spoil(redis, messageKey(shard, gid));
        spoiled.add(gid);
      }
      redis.disconnect();
    }
    expect(spoiled.size).toBeGreaterThanOrEqual(spoilers.length);
    expect((await api.get("/resetCronTime?timeout=0&limit=1000")).status).toBe(200);
    const others = all.filter((gid) => !spoiled.has(gid));
    expect(others.length).toBeGreaterThan(0);
    await Promise.all(others.map((gid) => api.until(gid, "succeed")));
    const { transactions, unreadable } = (await api.get("/all?limit=1000")).body as {
      readonly transactions: readonly { readonly gid: string }[];
      readonly unreadable: readonly string[];
    };
    expect(new Set(unreadable)).toEqual(spoiled);
    expect(transactions.map(({ gid }) => gid)).toEqual(expect.arrayContaining(others));
    expect((await api.get("/deadLetters")).status).toBe(200);
    for (const gid of spoiled) expect((await api.get(`/query?gid=${gid}`)).status).toBe(500);
  });
});

describe("a branch", () => {
  it("with a payload is a POST of it as JSON, with dtm's parameters and the branch headers", async () => {
    const gid = await submit([[`${services.url}/post?kept=1`, '{"units":2}']], { branch_headers: { "X-Trace": "abc" } });
    await api.until(gid, "succeed");
    const [call] = services.at("/post", gid);
    expect(call).toMatchObject({
      method: "POST",
      body: '{"units":2}',
      query: { kept: "1", gid, trans_type: "msg", branch_id: "01", op: "action" },
      headers: { "content-type": "application/json", "x-trace": "abc" },
    });
  });

  it("without a payload is a GET", async () => {
    const gid = await submit([[`${services.url}/get`, ""]]);
    await api.until(gid, "succeed");
    expect(services.at("/get", gid)).toMatchObject([{ method: "GET", body: "" }]);
  });

  it("in dtm's older form has its payload in the step", async () => {
    const gid = newGid("older");
    const url = `${services.url}/older`;
    await api.post("/submit", { gid, trans_type: "msg", steps: [{ action: url, data: '{"a":1}' }] });
    await api.until(gid, "succeed");
    expect(services.at("/older", gid)).toMatchObject([{ method: "POST", body: '{"a":1}' }]);
  });

  it("with an empty url is a success", async () => {
    const gid = await submit([
      ["", "null"],
      ["", ""],
    ]);
    await api.until(gid, "succeed");
  });

  it.each([
    [200, "succeed"],
    [201, "succeed"],
    [204, "succeed"],
    [404, "submitted"],
    [409, "submitted"],
    [425, "submitted"],
    [500, "submitted"],
    [503, "submitted"],
  ])("that answers %i leaves the message %s", async (status, state) => {
    const path = `/status-${status}`;
    const url = services.on(path, answer(status));
    const gid = await submit([[url, "{}"]], { retry_interval: 60 });
    await until(() => services.at(path, gid).length === 1, "the branch to be called");
    await until(async () => state === "succeed" || (await api.transaction(gid))?.["retry_count"] === 1, "the round to be noted");
    await api.until(gid, state);
  });

  it.each([409, 425, 500])("that answers %i is called again until it succeeds", async (status) => {
    const path = `/again-${status}`;
    const url = services.on(path, inTurn(status, status, 200));
    const gid = await submit([[url, "{}"]]);
    await api.until(gid, "succeed");
    expect(services.at(path, gid)).toHaveLength(3);
  });

  it("that says no in the body of a 200 is called again; a word elsewhere in a body says nothing", async () => {
    const bodies = ['{"dtm_result":"FAILURE"}', '{"dtm_result":"ONGOING"}', '{"message":"FAILURE"}'];
    const url = services.on("/words", (received, response) => answer(200, bodies.shift())(received, response));
    const gid = await submit([[url, "{}"]]);
    await api.until(gid, "succeed");
    expect(services.at("/words", gid)).toHaveLength(3);
  });

  it("that is down is called again, and succeeds when it is up", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    await new Promise((resolve) => taken.close(resolve));
    const gid = await submit([[`http://127.0.0.1:${port}/`, "{}"]], { retry_interval: 0.5 });
    await until(async () => Number((await api.transaction(gid))?.["retry_count"]) >= 1, "a failed round");
    expect(String((await api.transaction(gid))?.["last_error"])).toContain("ECONNREFUSED");
    const up = createServer((socket) => socket.resume().end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    await new Promise<void>((resolve) => up.listen(port, "127.0.0.1", resolve));
    await api.until(gid, "succeed");
    await new Promise((resolve) => up.close(resolve));
  });

  it("that does not answer in time has failed this round", async () => {
    const url = services.on("/slow", (_received, response) => void (services.at("/slow").length > 1 && response.end()));
    const gid = await submit([[url, "{}"]], { request_timeout: 0.1 });
    await api.until(gid, "succeed");
    // a busy machine may need a third call
    expect(services.at("/slow", gid).length).toBeGreaterThanOrEqual(2);
  });

  it("with an answer that never ends is called again: what it says is not known", async () => {
    const url = services.on("/huge", (_received, response) => {
      if (services.at("/huge").length > 1) return void response.end();
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
      };
      response.on("drain", more);
      more();
      return undefined;
    });
    const gid = await submit([[url, "{}"]]);
    await api.until(gid, "succeed");
    expect(services.at("/huge", gid)).toHaveLength(2);
  });

  it("that redirects elsewhere is not followed", async () => {
    const url = services.on("/away", answer(307, "", { location: `${elsewhere.url}/lured` }));
    const gid = await submit([[url, "{}"]]);
    await until(async () => Number((await api.transaction(gid))?.["retry_count"]) >= 1, "a failed round");
    expect(elsewhere.received).toEqual([]);
    expect(String((await api.transaction(gid))?.["last_error"])).toContain("307");
  });

  it("that redirects within its origin is followed with the same method and body", async () => {
    const url = services.on("/moved", answer(308, "", { location: "/new-place" }));
    const gid = await submit([[url, '{"a":1}']]);
    await api.until(gid, "succeed");
    expect(services.at("/new-place")).toMatchObject([{ method: "POST", body: '{"a":1}' }]);
  });
});

describe("several branches", () => {
  it("run in order, and one that succeeded is not called again", async () => {
    const second = services.on("/second", inTurn(500, 500, 200));
    const gid = await submit([
      [`${services.url}/one`, "1"],
      [second, "2"],
      [`${services.url}/three`, "3"],
    ]);
    await api.until(gid, "succeed");
    const order = services.received.filter(({ query }) => query["gid"] === gid).map(({ path, query }) => `${query["branch_id"]}${path}`);
    expect(order).toEqual(["01/one", "02/second", "02/second", "02/second", "03/three"]);
  });

  it("run at once if they are concurrent, each success is kept", async () => {
    let waiting = 0;
    const together = services.on("/together", async (_received, response) => {
      waiting += 1;
      await until(() => waiting >= 2, "the other branch to be called").catch(() => response.writeHead(500));
      response.end();
    });
    const flaky = services.on("/flaky", inTurn(500, 200));
    const gid = await submit(
      [
        [together, "1"],
        [together, "2"],
        [flaky, "3"],
      ],
      { concurrent: true, request_timeout: 5 },
    );
    await api.until(gid, "succeed");
    expect(services.at("/together", gid)).toHaveLength(2);
    expect(services.at("/flaky", gid)).toHaveLength(2);
  });
});

describe("delay and wait_result", () => {
  it("a delay counts from submit, also where prepare did not say it", async () => {
    const gid = newGid("delay");
    const steps = [[`${services.url}/delayed`, "{}"]] as const;
    await api.post("/prepare", message(gid, steps, { query_prepared: `${services.url}/query` }));
    const at = performance.now();
    await api.post("/submit", message(gid, steps, { custom_data: '{"delay":0.3}' }));
    await api.until(gid, "succeed");
    expect((services.at("/delayed", gid)[0]?.atMs ?? 0) - at).toBeGreaterThanOrEqual(295);
  });

  it("wait_result answers 200 when every branch has succeeded", async () => {
    const gid = newGid("wait");
    const body = message(gid, [[`${services.url}/waited`, "{}"]], { wait_result: true });
    expect(await api.post("/submit", body)).toEqual({ status: 200, body: { dtm_result: "SUCCESS" } });
    expect(await api.status(gid)).toBe("succeed");
  });

  it("wait_result answers 425 ONGOING after a round that failed, and the message goes on", async () => {
    const gid = newGid("ongoing");
    const url = services.on("/late", inTurn(500, 200));
    const reply = await api.post("/submit", message(gid, [[url, "{}"]], { wait_result: true, retry_interval: 0.3 }));
    expect(reply).toMatchObject({ status: 425, body: { dtm_result: "ONGOING" } });
    await api.until(gid, "succeed");
  });
});

describe("topics", () => {
  it("reach every subscriber; one that fails is called again alone", async () => {
    const bad = services.on("/subscriber-b", inTurn(500, 200));
    for (const url of [`${services.url}/subscriber-a`, bad, `${services.url}/subscriber-c`]) {
      const reply = await api.get(`/subscribe?topic=paid&url=${encodeURIComponent(url)}&remark=test`);
      expect(reply).toEqual({ status: 200, body: { dtm_result: "SUCCESS" } });
    }
    const gid = await submit(
      [
        ["topic://paid", '{"order":7}'],
        [`${services.url}/after`, "{}"],
      ],
      { concurrent: true },
    );
    await api.until(gid, "succeed");
    const calls = services.received.filter(({ query }) => query["gid"] === gid).map(({ path, query }) => `${query["branch_id"]}${path}`);
    expect(calls.toSorted()).toEqual(["01-01/subscriber-a", "01-02/subscriber-b", "01-02/subscriber-b", "01-03/subscriber-c", "02/after"]);
    expect(services.at("/subscriber-c", gid)).toMatchObject([{ body: '{"order":7}' }]);
  });

  it("with one subscriber have a plain branch id", async () => {
    await api.get(`/subscribe?topic=alone&url=${encodeURIComponent(`${services.url}/alone`)}`);
    const gid = await submit([["topic://alone", "{}"]]);
    await api.until(gid, "succeed");
    expect(services.at("/alone", gid)).toMatchObject([{ query: { branch_id: "01" } }]);
  });

  it("that nobody subscribed are refused; subscribing twice and unsubscribing strangers too", async () => {
    const url = encodeURIComponent(`${services.url}/x`);
    const gid = newGid("topic");
    expect(await api.post("/submit", message(gid, [["topic://nobody", "{}"]]))).toMatchObject({
      status: 400,
      body: { message: "topic not found" },
    });
    await api.get(`/subscribe?topic=t&url=${url}`);
    expect(await api.get(`/subscribe?topic=t&url=${url}`)).toMatchObject({ status: 409, body: { message: "this url exists" } });
    expect(await api.get(`/unsubscribe?topic=t&url=http%3A%2F%2Flocalhost%2Fother`)).toMatchObject({ status: 409 });
    expect(await api.get(`/unsubscribe?topic=t&url=${url}`)).toMatchObject({ status: 200 });
    expect(await api.get(`/unsubscribe?topic=t&url=${url}`)).toMatchObject({ status: 409, body: { message: "no such topic" } });
    await api.get(`/subscribe?topic=t&url=${url}`);
    expect(await api.delete("/topic/t")).toMatchObject({ status: 200 });
    expect(await api.post("/submit", message(gid, [["topic://t", "{}"]]))).toMatchObject({
      status: 400,
      body: { message: "topic not found" },
    });
  });
});

describe("dead letters", () => {
  it("are made after the configured rounds, listed, told to the hook, retried and failed by a call", async () => {
    let up = false;
    const url = services.on("/dead", (_received, response) => void response.writeHead(up ? 200 : 500).end("no luck"));
    const [retried, failed] = [await submit([[url, "{}"]]), await submit([[url, "{}"]])];
    for (const gid of [retried, failed]) {
      await until(async () => (await api.transaction(gid))?.["dead"] === true, "the message to be a dead letter");
      expect(services.at("/dead", gid)).toHaveLength(ROUNDS);
      expect(await api.post("/resetNextCronTime", { gid })).toMatchObject({ status: 409 });
    }
    const listed = (await api.get("/deadLetters")).body["transactions"] as readonly { gid: string; last_error: string }[];
    expect(listed.map(({ gid }) => gid)).toEqual(expect.arrayContaining([retried, failed]));
    expect(listed.find(({ gid }) => gid === retried)?.last_error).toBe("500 no luck");
    await until(() => services.at("/alert").filter(({ body }) => body.includes(retried)).length === 1, "the hook to be called");
    expect(JSON.parse(services.at("/alert").find(({ body }) => body.includes(retried))?.body ?? "{}")).toEqual({
      gid: retried,
      status: "submitted",
      branch: url,
      error: "500 no luck",
      retry_count: ROUNDS,
    });
    up = true;
    expect(await api.post("/deadLetters/retry", { gid: retried })).toMatchObject({ status: 200 });
    await api.until(retried, "succeed");
    expect(await api.post("/deadLetters/fail", { gid: failed, rollback_reason: "given up" })).toMatchObject({ status: 200 });
    expect(await api.transaction(failed)).toMatchObject({ status: "failed", rollback_reason: "given up" });
    const left = (await api.get("/deadLetters")).body["transactions"] as readonly { gid: string }[];
    expect(left.filter(({ gid }) => gid === retried || gid === failed)).toEqual([]);
    expect(await api.post("/deadLetters/retry", { gid: failed })).toMatchObject({ status: 409 });
  });
});

describe("many destinations", () => {
  it("one that never answers delays no other", async () => {
    const hang = services.on("/hang", () => undefined);
    const stuck = await Promise.all(Array.from({ length: 40 }, () => submit([[hang, "{}"]], { request_timeout: 30 })));
    await until(() => services.at("/hang").length === 4, "as many calls as may run at one host");
    const free = await Promise.all(Array.from({ length: 40 }, () => submit([[`${elsewhere.url}/free`, "{}"]])));
    await Promise.all(free.map((gid) => api.until(gid, "succeed", 60_000)));
    // never more at one host than its bound
    expect(services.at("/hang")).toHaveLength(4);
    await Promise.all(stuck.map((gid) => api.post("/forceStop", { gid })));
  });

  it("of which one is dead: what finds no room there comes back later and later, and others pass", async () => {
    const hang = services.on("/dead-end", () => undefined);
    const client = new Coordinator({ url: coordinator.url, timeoutMs: 60_000 });
    const connections = stores.redis.map(({ url }) => new Redis(url));
    /** due later than any message that is only held by whoever works on it (QUICK: 500 ms) */
    const putOff = async (): Promise<number> => {
      const counts = connections.map((redis, shard) => redis.zcount(messageKeys(shard).due, Date.now() + 2_000, "+inf"));
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    };
    const sent = Array.from({ length: 2_600 }, async () => {
      const body = message(newGid("dead-end"), [[hang, "{}"]], { request_timeout: 600 });
      return client.call("submit", { ...body, gid: String(body["gid"]) });
    });
    await Promise.all(sent);
    await until(async () => (await putOff()) > 0, "messages to be put off", 60_000);
    // swept, not delivered from memory
    const gid = await submit([[`${elsewhere.url}/passes`, "{}"]], { custom_data: JSON.stringify({ delay: 0.05 }) });
    await api.until(gid, "succeed", 60_000);
    for (const redis of connections) redis.disconnect();
    await client.close();
  });
});
