import { describe, expect, it } from "vitest";
import { createAdmin } from "./admin.ts";
import type { WorkerRequests } from "./worker-requests.ts";

const TOKEN = "an-admin-token-for-tests";
const asked: unknown[] = [];
const abouts: unknown[] = [];
const workers = {
  list: () => Promise.resolve({ ok: true, value: [] }),
  shards: () => Promise.reject(new Error("it breaks")),
  order: () => Promise.reject(new Error("it breaks")),
  find: () => Promise.resolve({ ok: true, value: [] }),
  changeShard: (change: unknown) => {
    asked.push(change);
    return Promise.resolve({ ok: false, code: "unavailable", detail: "nobody" });
  },
} as unknown as WorkerRequests;
const admin = createAdmin({
  tokens: () => [TOKEN],
  workers,
  onFault: (_error, about) => void abouts.push(about),
});
const get = (url: string, authorization?: string) => admin.inject({ url, headers: authorization === undefined ? {} : { authorization } });

describe("the admin API's credential", () => {
  it("is wanted at every address but /healthz, also where there is nothing", async () => {
    expect((await get("/healthz")).json()).toEqual({ status: "alive" });
    const wrong = [undefined, "", TOKEN, "Bearer", "Bearer ", `Basic ${TOKEN}`, `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`];
    for (const authorization of [...wrong, `Bearer ${TOKEN} ${TOKEN}`, `Bearer x${TOKEN.slice(1)}`]) {
      for (const url of ["/sales", "/nothing", "/healthz/"]) {
        const answer = await get(url, authorization);
        expect([answer.statusCode, answer.headers["www-authenticate"], answer.json()], `${url} ${authorization}`).toEqual([
          401,
          "Bearer",
          {
            code: "unauthorized",
            title: "The credential is missing or wrong",
            status: 401,
            detail: "Authorization: Bearer <admin token> is needed.",
          },
        ]);
      }
    }
  });

  it("is taken in any case of its scheme, and behind any spaces", async () => {
    for (const scheme of ["Bearer ", "bearer ", "BEARER ", "Bearer  "]) {
      expect((await get("/sales", `${scheme}${TOKEN}`)).statusCode).toBe(200);
      expect((await get("/nothing", `${scheme}${TOKEN}`)).statusCode).toBe(404);
    }
  });
});

describe("the admin API", () => {
  it("tells no page of another origin anything, by answer or preflight", async () => {
    const page = { origin: "https://shop.example", authorization: `Bearer ${TOKEN}` };
    const asked = { ...page, "access-control-request-method": "POST", "access-control-request-headers": "authorization" };
    const answers = [
      await admin.inject({ url: "/healthz", headers: page }),
      await admin.inject({ url: "/sales", headers: page }),
      await admin.inject({ method: "OPTIONS", url: "/sales", headers: asked }),
      await admin.inject({ method: "OPTIONS", url: "/sales", headers: { ...asked, authorization: "" } }),
    ];
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 404, 401]);
    for (const { headers } of answers) expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
  });

  const post = (url: string, payload: string, type = "application/json") =>
    admin.inject({ method: "POST", url, payload, headers: { authorization: `Bearer ${TOKEN}`, "content-type": type } });

  it("says all that is wrong with a body at once, and asks no worker", async () => {
    const answer = await post("/sales", '{"id":"%","title":"","units":0,"opensAtMs":1,"closesAtMs":2,"more":1}');
    expect([answer.statusCode, answer.json()]).toMatchObject([400, { code: "bad_request", status: 400 }]);
    for (const part of [/id: /, /title: /, /units: /, /body: .*"more"/]) expect(answer.json<{ detail: string }>().detail).toMatch(part);
    for (const body of ["", "{", "[]", "1", "null"]) expect((await post("/sales", body)).statusCode).toBe(400);
    expect((await post("/sales", "id=a", "text/html")).statusCode).toBe(415);
    expect((await post("/sales", `{"id":"${"a".repeat(20_000)}"}`)).statusCode).toBe(413);
    expect(asked).toEqual([]);
  });

  it("takes a change of a shard with any body but of discard, and passes on that nobody answered", async () => {
    const answer = await post("/shards/00007/drain", '{"more":1}');
    expect([answer.statusCode, answer.headers["retry-after"], asked]).toEqual([503, "1", [{ shard: 7, change: "drain" }]]);
  });

  it("answers 500 where it breaks", async () => {
    const answer = await get("/shards", `Bearer ${TOKEN}`);
    expect([answer.statusCode, answer.json()]).toMatchObject([500, { code: "fault" }]);
    // and tells the log which order it was about
    expect((await get("/orders/0-1-1-0?saleId=a&uid=ann", `Bearer ${TOKEN}`)).statusCode).toBe(500);
    expect(abouts).toEqual([{}, { order: "0-1-1-0" }]);
  });
});
