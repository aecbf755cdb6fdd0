import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { Services } from "../../harness/messages/services.ts";

const TOKEN = "a-token-of-the-test-0123456789";
let stores: Stores;
let services: Services;
let coordinator: RunningCoordinator;
let guarded: RunningCoordinator;
let api: Api;

beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
  coordinator = await startCoordinator(stores, { DOORBUSTER_CALLABLE_HOSTS: "orders.internal,pay.internal:8080,*.shop.internal" });
  api = new Api(coordinator.url);
});
afterAll(async () => {
  await guarded?.stop();
  await Promise.all([services?.stop(), stores?.stop()]);
});

const good = (): Record<string, unknown> => message(newGid("input"), [["", "{}"]], { query_prepared: "http://localhost/query" });
const step = (action: unknown): Record<string, unknown> => ({ steps: [{ action }], payloads: ["{}"] });

/** what is wrong, and the sentence that says so */
const BAD: readonly (readonly [patch: Readonly<Record<string, unknown>>, sentence: RegExp])[] = [
  [{ gid: undefined }, /^gid must not be empty$/],
  [{ gid: 7 }, /^gid must be a string of at most 128 characters/],
  [{ gid: "a b" }, /^gid must be a string/],
  [{ gid: "a\nb" }, /^gid must be a string/],
  [{ gid: "x".repeat(129) }, /^gid must be a string/],
  [{ gid: "a\0" }, /^gid must be a string/],
  [{ payloads: ["{}\0"] }, /^each of payloads must have no control characters but tabs and ends of lines, and no lone surrogates$/],
  [{ payloads: ['{"a":"\uDC00"}'] }, /^each of payloads must have no control characters/],
  [{ payloads: null, steps: [{ action: "", data: "\u0007" }] }, /^data of a step must have no control characters/],
  [step("http://localhost/\0"), /^action of a step must have no control characters and no lone surrogates$/],
  [step("http://localhost/\n"), /^action of a step must have no control characters/],
  [{ query_prepared: "http://localhost/\uD83D" }, /^query_prepared must have no control characters/],
  [{ custom_data: '{"delay":0,"x":"\0"}' }, /^custom_data must have no control characters/],
  [{ branch_headers: { a: "x\u0085" } }, /^branch_headers: the value of a is not a header's value$/],
  [{ branch_headers: { "a\0": "x" } }, /^branch_headers has the name /],
  [{ trans_type: undefined }, /^trans_type must be 'msg'$/],
  [{ trans_type: "saga" }, /^trans_type must be 'msg', not 'saga'$/],
  [{ trans_type: ["msg"] }, /^trans_type must be 'msg'$/],
  [{ protocol: "grpc" }, /^protocol must be 'http'$/],
  [{ protocol: 1 }, /^protocol must be a string$/],
  [{ steps: {} }, /^steps must be an array$/],
  [{ steps: ["x"] }, /^each of steps must be an object$/],
  [{ steps: [{ action: 5 }], payloads: ["{}"] }, /^action and data of a step must be strings$/],
  [{ steps: Array.from({ length: 101 }, () => ({ action: "" })) }, /^steps must have at most 100 entries$/],
  [{ payloads: ["{}", "{}"] }, /^steps and payloads must be of equal length, they are 1 and 2$/],
  [{ payloads: [] }, /^steps and payloads must be of equal length, they are 1 and 0$/],
  [{ payloads: [{}] }, /^payloads must be an array of strings$/],
  [{ query_prepared: "" }, /^query_prepared must not be empty$/],
  [{ query_prepared: 1 }, /^query_prepared must be a string$/],
  [{ query_prepared: "not a url" }, /^query_prepared is not an absolute URL$/],
  [{ query_prepared: "http://127.0.0.1.evil.example/" }, /^query_prepared is at host '127.0.0.1.evil.example', which may not be called$/],
  [step("ftp://localhost/"), /^action of step 01 is not an http or https URL$/],
  [step("file:///etc/passwd"), /^action of step 01 is not an http or https URL$/],
  [step("http://user:pass@localhost/"), /^action of step 01 carries credentials$/],
  [step("http://169.254.169.254/latest/meta-data"), /^action of step 01 is at host '169.254.169.254', which may not be called$/],
  [step("http://10.0.0.1/"), /which may not be called$/],
  [step("http://orders.internal.evil.example/"), /which may not be called$/],
  [step("http://pay.internal/"), /which may not be called$/],
  [step("http://shop.internal/"), /which may not be called$/],
  [step(`http://localhost/${"x".repeat(2_000)}`), /^action of step 01 must have at most 2000 characters$/],
  [step("topic://nobody"), /^topic not found$/],
  [{ custom_data: {} }, /^custom_data must be a string$/],
  [{ custom_data: "{" }, /^custom_data must be JSON text$/],
  [{ custom_data: '{"delay":-1}' }, /^custom_data.delay must be a number of seconds from 0 to/],
  [{ wait_result: "yes" }, /^wait_result must be true or false$/],
  [{ concurrent: 1 }, /^concurrent must be true or false$/],
  [{ timeout_to_fail: -1 }, /^timeout_to_fail must be a number of seconds from 0 to/],
  [{ timeout_to_fail: "3" }, /^timeout_to_fail must be a number/],
  [{ request_timeout: 1e12 }, /^request_timeout must be a number/],
  [{ retry_interval: null, request_timeout: {} }, /^request_timeout must be a number/],
  [{ retry_interval: [] }, /^retry_interval must be a number/],
  [{ branch_headers: [] }, /^branch_headers must be an object of strings$/],
  [{ branch_headers: { a: 1 } }, /^branch_headers must be an object of strings$/],
  [{ branch_headers: { "a b": "x" } }, /^branch_headers has the name 'a b', which is not a header's name$/],
  [{ branch_headers: { a: "x\r\nHost: evil" } }, /^branch_headers: the value of a is not a header's value$/],
  [{ branch_headers: { "Content-Length": "0" } }, /^branch_headers must not set content-length$/],
];

describe("a bad body", () => {
  it.each(BAD)("%j: 400", async (patch, sentence) => {
    const body = { ...good(), ...patch };
    const reply = await api.post("/prepare", body);
    expect(reply.status).toBe(400);
    expect(reply.body).toEqual({ dtm_result: "FAILURE", message: expect.stringMatching(sentence) });
    if (typeof body["gid"] === "string")
      expect(await api.get(`/query?gid=${encodeURIComponent(body["gid"])}`)).not.toMatchObject({
        body: { transaction: { status: "prepared" } },
      });
  });

  it.each(["prepare", "submit", "abort", "forceStop", "resetNextCronTime", "deadLetters/retry", "deadLetters/fail", "bulk"])(
    "%s of what is not JSON, or not an object: 400",
    async (call) => {
      for (const body of ["{", "", "[1", "null", '"x"', "7"]) {
        const reply = await api.post(`/${call}`, body);
        expect([body, reply.status]).toEqual([body, 400]);
        expect(String(reply.body["message"]).length).toBeGreaterThan(10);
      }
    },
  );

  it("over a megabyte: 413", async () => {
    const reply = await api.post("/submit", { ...good(), payloads: ["x".repeat(1 << 20)] });
    expect(reply).toMatchObject({ status: 413, body: { message: "the body must have at most 1048576 bytes" } });
  });

  it.each([
    ["/query", /^gid must not be empty$/],
    ["/query?gid=", /^gid must not be empty$/],
    ["/query?gid=a&gid=b", /^gid must be given once$/],
    ["/all?limit=0", /^limit must be a whole number from 1 to 1000$/],
    ["/all?limit=x", /^limit must be a whole number/],
    ["/all?position=zzz", /^position must be empty or the next_position/],
    ["/all?createTimeStart=yesterday", /^createTimeStart must be a whole number/],
    ["/deadLetters?limit=5000", /^limit must be a whole number/],
    ["/resetCronTime?timeout=-3", /^timeout must be a whole number/],
    ["/subscribe?url=http%3A%2F%2Flocalhost%2F", /^topic must not be empty$/],
    ["/subscribe?topic=a", /^url must not be empty$/],
    ["/subscribe?topic=a&url=http%3A%2F%2F10.0.0.1%2F", /^url is at host '10.0.0.1', which may not be called$/],
    ["/subscribe?topic=a&url=http%3A%2F%2Flocalhost%2F&remark=%00", /^remark must have no control characters/],
    ["/subscribe?topic=a%00&url=http%3A%2F%2Flocalhost%2F", /^topic must have at most 128 characters without spaces/],
    ["/all?status=%07", /^status must have no control characters/],
    ["/unsubscribe?topic=a", /^url must not be empty$/],
  ])("GET %s: 400", async (path, sentence) => {
    expect(await api.get(path)).toEqual({ status: 400, body: { dtm_result: "FAILURE", message: expect.stringMatching(sentence) } });
  });
});

describe("a page in a browser", () => {
  it("is refused before anything is done, and told nothing by preflight", async () => {
    const body: Record<string, unknown> = { ...good(), timeout_to_fail: 600 };
    const gid = String(body["gid"]);
    const pages: Record<string, string>[] = [
      { origin: "https://shop.example" },
      { origin: "null" },
      { origin: coordinator.url },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-origin" },
      { origin: "https://shop.example", "sec-fetch-site": "none" },
    ];
    for (const headers of pages) {
      const page = new Api(coordinator.url, { ...headers, "content-type": "text/plain" });
      expect([JSON.stringify(headers), (await page.post("/submit", body)).status, (await page.get("/query?gid=a")).status]).toEqual([
        JSON.stringify(headers),
        403,
        403,
      ]);
    }
    expect(await api.transaction(gid)).toBeNull();
    const typed = new Api(coordinator.url, { "sec-fetch-site": "none" });
    expect((await typed.get("/query?gid=a")).status).toBe(200);

    const asked = {
      origin: "https://shop.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type",
    };
    for (const path of ["/submit", "/query"]) {
      const { headers } = await fetch(api.url + path, { method: "OPTIONS", headers: asked });
      expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
  });
});

describe("a text of several lines", () => {
  it("may be a payload and the reason of an abort; half of a pair may not", async () => {
    const body = { ...good(), payloads: ['{\n\t"name": "限量 👟"\r\n}'], timeout_to_fail: 600 } as Record<string, unknown>;
    expect((await api.post("/prepare", body)).status).toBe(200);
    const abort = { gid: body["gid"], trans_type: "msg", rollback_reason: "panic:\n\tgoroutine 1" };
    expect(await api.post("/prepare", { ...good(), gid: "a\uD83D" })).toMatchObject({ status: 400 });
    expect(await api.post("/abort", { ...abort, rollback_reason: "\0" })).toMatchObject({ status: 400 });
    expect(await api.post("/abort", { ...abort, rollback_reason: "\uD83D" })).toMatchObject({ status: 400 });
    expect((await api.post("/abort", abort)).status).toBe(200);
    expect(await api.transaction(String(body["gid"]))).toMatchObject({ rollback_reason: abort.rollback_reason });
  });
});

describe("hosts", () => {
  it.each([
    "http://localhost:1/",
    "http://127.8.9.1/",
    "http://[::1]:80/",
    "https://orders.internal/x",
    "http://pay.internal:8080/",
    "http://eu.shop.internal/",
  ])("%s may be called", async (url) => {
    const body: Record<string, unknown> = { ...good(), ...step(url), query_prepared: url, timeout_to_fail: 600 };
    expect((await api.post("/prepare", body)).status).toBe(200);
    await api.post("/forceStop", { gid: body["gid"] });
  });
});

describe("a coordinator with a token", () => {
  it("answers only who shows it", async () => {
    await coordinator.stop();
    guarded = await startCoordinator(stores, { DOORBUSTER_COORDINATOR_TOKEN: TOKEN });
    for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: TOKEN }, { authorization: `Bearer ${TOKEN}x` }])
      expect((await new Api(guarded.url, headers as Record<string, string>).post("/prepare", good())).status).toBe(401);
    const mine = new Api(guarded.url, { authorization: `Bearer ${TOKEN}` });
    expect((await mine.post("/prepare", { ...good(), timeout_to_fail: 600 })).status).toBe(200);
    expect((await fetch(`${guarded.url}/api/ping`)).status).toBe(200);
    expect((await fetch(`${guarded.url}/api/metrics`)).status).toBe(401);
  });
});
