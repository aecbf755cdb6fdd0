import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OutcomeCode, outcomeKinds, refusals } from "../buy/outcome.ts";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire, type WireAnswer } from "../../test/harness/wire.ts";
import { OPENS_AT_MS } from "../../test/harness/scripted-buy-service.ts";
import { askedWait, preferredWait } from "./held-answers.ts";
import { headText } from "./answer.ts";
import { matchesEtag } from "./sale-route.ts";

let edge: EdgeWorld;
const NOW_MS = 1_700_000_000_123;

beforeAll(async () => {
  edge = await startEdgeWorld({ nowMs: () => NOW_MS });
});
afterAll(() => edge.close());

// The scripted service judges tickets by the real clock, the routes show this one.
const buy = (uid: string, headers: readonly string[] = [], body = ""): Promise<WireAnswer | undefined> =>
  ask(edge.port, request("POST", `/buy/${ticketFor(uid)}`, headers, body));
const fields = (answer: WireAnswer | undefined): unknown => JSON.parse(answer?.body ?? "null");

describe("POST /buy/:ticket", () => {
  it("answers reserved with the order, its units and where to look", async () => {
    const ticket = ticketFor("win");
    const answer = await ask(edge.port, request("POST", `/buy/${ticket}`, [], '{"units":2}'));
    expect(answer).toMatchObject({
      status: 202,
      reason: "Accepted",
      headers: {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        location: `/buy/${ticket}?order=0-1-3-0`,
      },
    });
    expect(fields(answer)).toEqual({ code: "reserved", orderId: "0-1-3-0", units: 2 });
  });

  it("answers every refusal by the outcome table, as problem+json", async () => {
    for (const [name, outcome] of Object.entries(refusals)) {
      if (name === "none" || name.startsWith("ticket") || name === "saleUnknown") continue;
      const answer = await buy(name);
      const { status, title, retryable } = outcomeKinds[outcome.code];
      expect(answer?.status, name).toBe(status);
      expect(answer?.headers["content-type"]).toBe("application/problem+json");
      expect(answer?.headers["cache-control"]).toBe("no-store");
      expect(answer?.headers["retry-after"], name).toBe(retryable ? "1" : undefined);
      expect(fields(answer)).toEqual({ code: outcome.code, title, status, detail: outcome.detail ?? expect.stringMatching(/\.$/) });
    }
  });

  it("says when the sale opens and when to come back", async () => {
    const early = await buy("early");
    expect([early?.status, early?.headers["retry-after"]]).toEqual([403, "62"]);
    expect(fields(early)).toMatchObject({ code: "not_open", opensAt: new Date(OPENS_AT_MS).toISOString() });
    const often = await buy("often");
    expect([often?.status, often?.headers["retry-after"]]).toEqual([429, "2"]);
  });

  it("answers a repeat of a stored purchase 200, a refused order 409 with its reason", async () => {
    const again = await buy("again");
    expect([again?.status, fields(again)]).toEqual([200, { code: "confirmed", orderId: "0-1-5-0", units: 1 }]);
    const rejected = await buy("rejected");
    expect([rejected?.status, fields(rejected)]).toMatchObject([409, { code: "rejected", orderId: "0-1-8-0", reason: "quota" }]);
  });

  it("hands over units, key and an exempt loopback address", async () => {
    edge.service.bought.length = 0;
    await buy("win", ["Idempotency-Key: key-1"], '{"units":3}');
    expect(edge.service.bought).toEqual([{ uid: "win", units: 3, key: "key-1", address: "" }]);
  });

  it("takes a key bare and as a quoted string, which is the same key", async () => {
    edge.service.bought.length = 0;
    for (const spelt of ["key-1", '"key-1"', ' "key-1" ', '\t"key-1"']) await buy("win", [`Idempotency-Key:${spelt}`]);
    await buy("win", [`idempotency-key: "${"k".repeat(64)}"`]);
    expect(edge.service.bought.map(({ key }) => key)).toEqual([...Array(4).fill("key-1"), "k".repeat(64)]);
    const standing = await ask(edge.port, request("GET", `/buy/${ticketFor("win")}`, ['Idempotency-Key: "key-1"']));
    expect(fields(standing)).toMatchObject({ reason: "key-1" });
  });

  it("says which field of a malformed purchase is wrong, and what would be right", async () => {
    const cases: [readonly string[], string, string, string][] = [
      [["Idempotency-Key: a b"], "", "Idempotency-Key: ", "1 to 64 of A-Z a-z 0-9 _ -"],
      [['Idempotency-Key: "a";v=1'], "", "Idempotency-Key: ", "no parameters"],
      [[], "{", "body: not JSON", '{"units":1}'],
      [[], "[]", "body: ", '{"units":1}'],
      [[], '{"units":0}', "units: ", "at most 1000"],
      [[], '{"units":1,"uid":"x"}', "uid", '{"units":1}'],
    ];
    for (const [headers, body, field, right] of cases) {
      const { detail } = fields(await buy("win", headers, body)) as { detail: string };
      expect(detail).toContain(field);
      expect(detail).toContain(right);
    }
    const order = await ask(edge.port, request("GET", `/buy/${ticketFor("win")}?order=1`));
    expect(fields(order)).toMatchObject({ detail: "order: the order id that the purchase was answered with" });
  });

  it("holds the answer with Prefer: wait until the order is final", async () => {
    const wire = await Wire.open(edge.port);
    wire.write(request("POST", `/buy/${ticketFor("win")}`, ["Prefer: respond-async, wait=20"]));
    await expect.poll(() => edge.service.waiting.size, { timeout: 10_000 }).toBe(1);
    for (const done of edge.service.waiting.values()) done({ code: "confirmed", orderId: "0-1-3-0", units: 1 });
    const answer = await wire.answer();
    expect([answer?.status, fields(answer)]).toEqual([201, { code: "confirmed", orderId: "0-1-3-0", units: 1 }]);
    expect(edge.service.waiting.size).toBe(0);
    wire.destroy();
  });

  it("answers 202 when the wait is over, and forgets a client that left", async () => {
    const answer = await buy("win", ["Prefer: wait=1"]);
    expect([answer?.status, edge.service.waiting.size]).toEqual([202, 0]);
    const wire = await Wire.open(edge.port);
    wire.write(request("POST", `/buy/${ticketFor("win")}`, ["Prefer: wait=20"]));
    await expect.poll(() => edge.service.waiting.size, { timeout: 10_000 }).toBe(1);
    wire.destroy();
    await expect.poll(() => edge.service.waiting.size, { timeout: 10_000 }).toBe(0);
    expect(edge.mounted.waiting()).toBe(0);
  });
});

describe("a purchase as a simple request", () => {
  const post = (uid: string, query: string, body = "", headers: readonly string[] = []): Promise<WireAnswer | undefined> =>
    ask(
      edge.port,
      request(
        "POST",
        `/buy/${ticketFor(uid)}${query}`,
        [...(body === "" ? [] : ["Content-Type: text/plain;charset=UTF-8"]), ...headers],
        body,
      ),
    );

  it("takes units and key from a body of text", async () => {
    edge.service.bought.length = 0;
    const answer = await post("win", "", '{"units":2,"key":"k-1"}');
    await post("win", "", '{"key":"k-1"}', ["Idempotency-Key: k-1"]);
    await post("win", "", '{"key":""}', ["Idempotency-Key: k-2"]);
    expect(edge.service.bought.map(({ units, key }) => [units, key])).toEqual([
      [2, "k-1"],
      [1, "k-1"],
      [1, "k-2"],
    ]);
    // Location alone asks for that purchase, without a header
    const location = answer?.headers["location"] ?? "";
    expect(location).toMatch(/\?order=0-1-3-0&key=k-1$/);
    expect(fields(await ask(edge.port, request("GET", location)))).toMatchObject({ code: "reserved", reason: "k-1" });
  });

  it("holds the answer with ?wait=", async () => {
    const wire = await Wire.open(edge.port);
    wire.write(request("POST", `/buy/${ticketFor("win")}?wait=20`, ["Prefer: wait=0"]));
    await expect.poll(() => edge.service.waiting.size, { timeout: 10_000 }).toBe(1);
    for (const done of edge.service.waiting.values()) done({ code: "confirmed", orderId: "0-1-3-0", units: 1 });
    expect((await wire.answer())?.status).toBe(201);
    wire.destroy();
    expect((await post("win", "?wait=0", "", ["Prefer: wait=20"]))?.status).toBe(202);
    expect((await post("crowd", "?wait=20"))?.status).toBe(409);
  });

  it("buys nothing where two places differ or one is wrong, and says which", async () => {
    edge.service.bought.length = 0;
    const cases: [string, string, readonly string[], RegExp][] = [
      ["", '{"key":"a"}', ["Idempotency-Key: b"], /Idempotency-Key and key/],
      ["", '{"key":"a b"}', [], /key/],
      ["?key=a", "", [], /^key: .*body/],
      ["?wait=soon", "", [], /^wait/],
      ["?wait=1&wait=2", "", [], /^wait/],
      ["?wait=-1", "", ["Prefer: wait=3"], /^wait/],
    ];
    for (const [query, body, headers, detail] of cases) {
      const answer = await post("win", query, body, headers);
      expect([answer?.status, fields(answer)], query + body).toMatchObject([
        400,
        { code: "bad_request", detail: expect.stringMatching(detail) },
      ]);
    }
    const get = (query: string, headers: readonly string[] = []): Promise<WireAnswer | undefined> =>
      ask(edge.port, request("GET", `/buy/${ticketFor("win")}${query}`, headers));
    for (const [query, headers] of [
      ["?key=a", ["Idempotency-Key: b"]],
      ["?key=a%20b", []],
      ["?key=a&key=b", []],
    ] as const)
      expect((await get(query, headers))?.status, query).toBe(400);
    expect(fields(await get("?key=a", ["Idempotency-Key: a"]))).toMatchObject({ reason: "a" });
    expect(edge.service.bought).toEqual([]);
  });
});

describe("GET /buy/:ticket", () => {
  it("answers a standing 200 whatever it is, and what cannot be told by the table", async () => {
    const get = (uid: string): Promise<WireAnswer | undefined> => ask(edge.port, request("GET", `/buy/${ticketFor(uid)}`));
    expect([(await get("nobody"))?.status, fields(await get("nobody"))]).toEqual([200, { code: "none" }]);
    expect([(await get("win"))?.status, fields(await get("win"))]).toEqual([200, { code: "reserved", orderId: "0-1-3-0", units: 1 }]);
    expect(fields(await get("again"))).toEqual({ code: "confirmed", orderId: "0-1-5-0", units: 1 });
    expect(fields(await get("unpaid"))).toMatchObject({
      code: "confirmed",
      order: { state: "pending_payment", payBy: "2096-10-02T07:06:40.000Z" },
    });
    expect(fields(await get("paid"))).toMatchObject({ code: "confirmed", order: { state: "paid", payBy: null } });
    expect(fields(await get("neverDue"))).toMatchObject({ code: "confirmed", order: { state: "pending_payment", payBy: null } });
    expect([(await get("rejected"))?.status, fields(await get("rejected"))]).toMatchObject([200, { code: "rejected", reason: "quota" }]);
    const recovering = await get("recovering");
    expect([recovering?.status, recovering?.headers["retry-after"]]).toEqual([503, "1"]);
  });

  it("says why to who was told of an order that is lost, and only to him", async () => {
    const get = (uid: string, order: string): Promise<WireAnswer | undefined> =>
      ask(edge.port, request("GET", `/buy/${ticketFor(uid)}?order=${order}`));
    const lost = await get("nobody", "0-1-3-0");
    expect([lost?.status, fields(lost)]).toMatchObject([409, { code: "not_survived", detail: refusals.notSurvived.detail }]);
    expect(fields(await get("win", "0-1-9-0"))).toEqual({ code: "reserved", orderId: "0-1-3-0", units: 1 });
    expect(fields(await get("nobody", ""))).toEqual({ code: "none" });
    expect((await get("nobody", "0-1"))?.status).toBe(400);
  });
});

describe("GET /sales/:id", () => {
  it("says that there is no such sale only when the truth was asked", async () => {
    const answers = await Promise.all(
      ["none", "a b", "silent"].map((id) => ask(edge.port, request("GET", `/sales/${encodeURIComponent(id)}`))),
    );
    expect(answers.map((answer) => [answer?.status, JSON.parse(answer?.body ?? "{}").code])).toEqual([
      [404, "sale_unknown"],
      [404, "sale_unknown"],
      [503, "recovering"],
    ]);
    expect(answers[2]?.headers["retry-after"]).toBeDefined();
  });

  it("answers cached bytes, and 304 to who has them", async () => {
    const full = await ask(edge.port, request("GET", "/sales/sale-1"));
    expect([full?.status, full?.body, full?.headers["etag"], full?.headers["cache-control"]]).toEqual([
      200,
      edge.service.view.body.toString("utf8"),
      '"v1"',
      "public, max-age=1",
    ]);
    // a cache would tell it late
    expect(full?.headers["doorbuster-time"]).toBeUndefined();
    const same = await ask(edge.port, request("GET", "/sales/sale-1", ['If-None-Match: "v0", W/"v1"']));
    expect([same?.status, same?.body, same?.headers["etag"], same?.headers["content-length"]]).toEqual([304, "", '"v1"', undefined]);
    edge.service.view = { ...edge.service.view, etag: '"v2"', body: Buffer.from("{}") };
    const changed = await ask(edge.port, request("GET", "/sales/sale-1", ['If-None-Match: "v1"']));
    expect([changed?.status, changed?.body, changed?.headers["etag"]]).toEqual([200, "{}", '"v2"']);
  });

  it("answers HEAD with the length and no body", async () => {
    const head = await ask(edge.port, request("HEAD", "/sales/sale-1"), true);
    expect([head?.status, head?.headers["content-length"], head?.body]).toEqual([200, String(edge.service.view.body.length), ""]);
  });

  it("compares validators as RFC 9110 says", () => {
    expect([matchesEtag('"a"', '"a"'), matchesEtag('W/"a"', '"a"'), matchesEtag('"b" , "a"', '"a"'), matchesEtag("*", '"a"')]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect([matchesEtag("", '"a"'), matchesEtag('"b"', '"a"'), matchesEtag("a", '"a"')]).toEqual([false, false, false]);
  });
});

describe("GET /time", () => {
  it("tells the clock, uncached, in a few bytes, and keeps the connection", async () => {
    const wire = await Wire.open(edge.port);
    // the second is answered by way of an exchange: the same answer
    for (const headers of [[], ["Idempotency-Key: k"]]) {
      const answer = await wire.write(request("GET", "/time", headers)).answer();
      expect([answer?.status, fields(answer)]).toEqual([200, { nowMs: NOW_MS }]);
      expect(answer?.headers).toMatchObject({
        "content-type": "application/json",
        "cache-control": "no-store",
        "doorbuster-time": String(NOW_MS),
        "access-control-allow-origin": "*",
      });
    }
    const head = await wire.write(request("HEAD", "/time")).answer(true);
    expect([head?.status, head?.headers["doorbuster-time"], head?.headers["content-length"]]).toEqual([200, String(NOW_MS), "23"]);
    expect((await wire.write(request("GET", "/time?x=1")).answer())?.status).toBe(200);
    wire.destroy();
    expect((await ask(edge.port, request("POST", "/time")))?.headers["allow"]).toBe("GET, HEAD, OPTIONS");
  });
});

describe("health", () => {
  it("tells alive from ready", async () => {
    expect((await ask(edge.port, request("GET", "/readyz")))?.status).toBe(200);
    edge.service.ready = false;
    expect((await ask(edge.port, request("GET", "/readyz")))?.status).toBe(503);
    expect((await ask(edge.port, request("GET", "/healthz")))?.status).toBe(200);
    edge.service.ready = true;
  });

  it("is ready, and says what is wrong, where another gateway could do no more", async () => {
    edge.service.refused.set(2, "OOM").set(3, "LOADING");
    const full = await ask(edge.port, request("GET", "/readyz"));
    expect([full?.status, fields(full)]).toEqual([
      200,
      {
        status: "ready",
        detail:
          "shard 2: Redis refused the last purchases (OOM): maxmemory is reached; shard 3: Redis refused the last purchases (LOADING)",
      },
    ]);
    edge.service.refused.clear();
    expect(fields(await ask(edge.port, request("GET", "/readyz")))).toEqual({ status: "ready" });
  });
});

describe("small readings", () => {
  it("reads Prefer: wait and bounds it", () => {
    expect(["wait=5", "respond-async, wait=7", "a;wait = 9", 'wait="3"', "wait=100000", "WAIT=4"].map(preferredWait)).toEqual([
      5, 7, 9, 3, 30, 4,
    ]);
    expect(["", "await=5", "wait", "wait=-1", "wait=x", "wait=1.5", "waiting=3"].map(preferredWait)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  it("takes ?wait= before Prefer, with the same bounds, and refuses what is no number of seconds", () => {
    expect([askedWait("5", ""), askedWait("0", "wait=9"), askedWait("100000", ""), askedWait("", "wait=4")]).toEqual([5, 0, 30, 4]);
    expect(["x", "-1", "1.5", "1,2", " 3", "1e1", "9999999999"].map((wait) => askedWait(wait, "wait=4"))).toEqual(Array(7).fill(undefined));
  });

  it("refuses to write a header that could split the answer", () => {
    for (const value of ["a\r\nb", "a\nb", "a\0b", "é"]) expect(() => headText(200, { Location: value })).toThrow(TypeError);
    expect(() => headText(200, { "A b": "c" })).toThrow(TypeError);
  });
});

describe("the outcome table", () => {
  it("has a rendering for every code", async () => {
    const { problemOf } = await import("./problem.ts");
    for (const code of Object.values(OutcomeCode)) {
      const answer = problemOf({ code });
      expect(JSON.parse(Buffer.from(answer.body ?? new ArrayBuffer(0)).toString())).toMatchObject({
        code,
        title: outcomeKinds[code].title,
        detail: expect.any(String),
      });
    }
  });
});
