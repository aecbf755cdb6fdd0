import { Ajv2020, type AnySchema } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { OutcomeCode, outcomeKinds, refusals, type Outcome } from "./buy/outcome.ts";
import { keys, startEdgeWorld, ticketFor, type EdgeWorld } from "../test/harness/edge-world.ts";
import { ask, request, Wire, type WireAnswer } from "../test/harness/wire.ts";
import { SALE, ScriptedBuyService } from "../test/harness/scripted-buy-service.ts";
import { errorFrame, outcomeFrame, readFrame, statusFrame } from "./live/frames.ts";
import { gatewayDocument } from "./openapi/document.ts";
import { saleSchema } from "./openapi/schemas.ts";
import { mountDoorbuster } from "./plugin.ts";
import { KnownSale } from "./sales/known-sale.ts";
import type { TemplatedApp } from "./http/app.ts";

const LONG_AGO_MS = Date.UTC(2001, 0, 1);
const codes = z.object({ properties: z.object({ code: z.object({ enum: z.array(z.string()) }) }) });
const response = z.object({
  headers: z.record(z.string(), z.unknown()).optional(),
  content: z.record(z.string(), z.object({ schema: z.looseObject({ allOf: z.tuple([z.unknown(), codes]).optional() }) })).optional(),
});
const operation = z.object({ operationId: z.string(), responses: z.record(z.string(), response) });
const pathItem = z.object({ get: operation.optional(), post: operation.optional() });
const text = gatewayDocument();
const { components } = JSON.parse(text) as { readonly components: { readonly schemas: Readonly<Record<string, AnySchema>> } };
const document = z.object({ openapi: z.literal("3.1.0"), paths: z.record(z.string(), pathItem) }).parse(JSON.parse(text));

const ajv = new Ajv2020({ strict: false, formats: { "date-time": true } });
const isValid = (schema: AnySchema, value: unknown): true | string =>
  ajv.validate({ ...(schema as object), components }, value) || ajv.errorsText();
/** A frame, and what a component says of it. */
const isFrame = (component: string, frame: string): true | string =>
  isValid({ $ref: `#/components/schemas/${component}` }, JSON.parse(frame));

/** `<status> <code>` of everything an operation may answer, with the media type and headers it promises. */
const promised = (path: string, method: "get" | "post"): Map<string, { type: string; headers: readonly string[] }> => {
  const pairs = new Map<string, { type: string; headers: readonly string[] }>();
  for (const [status, { headers = {}, content = {} }] of Object.entries(document.paths[path]?.[method]?.responses ?? {})) {
    for (const [type, { schema }] of Object.entries(content))
      for (const code of schema.allOf?.[1].properties.code.enum ?? [])
        pairs.set(`${status} ${code}`, { type, headers: Object.keys(headers).map((name) => name.toLowerCase()) });
  }
  return pairs;
};
/** What HTTP tells apart and the outcome table does not. */
const EDGE = ["431 too_large", "500 try_again"];

/** Everything that an operation may answer: `<status> <code>`, or the status alone where there is no code. */
const answersOf = (path: string, method: "get" | "post"): readonly string[] =>
  Object.entries(document.paths[path]?.[method]?.responses ?? {}).flatMap(([status, { content = {} }]) => {
    const schemas = Object.values(content).map(({ schema }) => schema.allOf?.[1].properties.code.enum);
    return schemas[0]?.map((code) => `${status} ${code}`) ?? [status];
  });
/** @returns the name that `answersOf` has of an answer; its body is valid, and it has the headers that are promised without condition */
const checked = (path: string, method: "get" | "post", answer: WireAnswer | undefined): string => {
  const status = String(answer?.status);
  const promise = document.paths[path]?.[method]?.responses[status];
  expect(promise, `${method} ${path} answered ${status}`).toBeDefined();
  for (const name of Object.keys(promise?.headers ?? {}).filter((header) => header !== "Retry-After"))
    expect(answer?.headers[name.toLowerCase()], `${method} ${path} ${status}: ${name}`).toBeDefined();
  const type = answer?.headers["content-type"];
  const schema = promise?.content?.[type ?? ""]?.schema;
  if (promise?.content === undefined) return status;
  if (schema === undefined) throw new Error(`${method} ${path} ${status} is ${type}`);
  const body = JSON.parse(answer?.body ?? "") as { readonly code?: string };
  expect(isValid(schema, body), `${method} ${path} ${status} ${body.code}`).toBe(true);
  return schema.allOf === undefined ? status : `${status} ${body.code}`;
};

let edge: EdgeWorld;
beforeAll(async () => {
  edge = await startEdgeWorld();
  edge.service.view = new KnownSale(edge.service.view.record).view(0);
});
afterAll(() => edge.close());

describe("openapi.json", () => {
  it("is what `npm run openapi` writes", async () => {
    await expect(text).toMatchFileSnapshot("openapi.json");
  });

  it("promises for a purchase exactly what the outcome table has", () => {
    const table = Object.entries(outcomeKinds)
      .filter(([code]) => code !== OutcomeCode.none && code !== OutcomeCode.notFound)
      .map(([code, { status }]) => `${status} ${code}`);
    expect([...promised("/buy/{ticket}", "post").keys()].toSorted()).toEqual([...table, "200 confirmed", ...EDGE].toSorted());
  });

  it("gives every code its status in every operation", () => {
    for (const [path, item] of Object.entries(document.paths)) {
      for (const method of ["get", "post"] as const) {
        if (item[method] === undefined) continue;
        for (const [pair, { headers }] of promised(path, method)) {
          const [status, code] = pair.split(" ") as [string, OutcomeCode];
          const isStanding = item[method]?.operationId === "standing" && status === "200";
          if (!EDGE.includes(pair) && pair !== "426 bad_request" && pair !== "200 confirmed" && !isStanding)
            expect(`${outcomeKinds[code].status} ${code}`, `${method} ${path}`).toBe(pair);
          if (outcomeKinds[code].retryable && !isStanding) expect(headers, `${method} ${path} ${pair}`).toContain("retry-after");
        }
      }
    }
  });

  it("has the routes that are mounted, and no other", () => {
    const mounted = new Set<string>();
    const record =
      (method: string) =>
      (pattern: string): unknown =>
        mounted.add(`${method} ${pattern.replace(/:(\w+)/, "{$1}")}`);
    const ignore = (): undefined => undefined;
    const app = { get: record("get"), post: record("post"), ws: record("get"), head: ignore, options: ignore, any: ignore };
    mountDoorbuster(app as unknown as TemplatedApp, { service: new ScriptedBuyService(keys), tickets: keys });
    const written = Object.entries(document.paths).flatMap(([path, item]) =>
      (["get", "post"] as const).filter((method) => item[method] !== undefined).map((method) => `${method} ${path}`),
    );
    expect(written.toSorted()).toEqual([...mounted].toSorted());
  });

  it("is kept by real answers, each as promised", async () => {
    const buyers = ["win", "again", "rejected", "early", "often", "throw", ...Object.keys(refusals).filter((name) => name !== "none")];
    const requests: [string, "get" | "post", string][] = buyers.map((uid) => [
      "/buy/{ticket}",
      "post",
      request("POST", `/buy/${ticketFor(uid)}`),
    ]);
    for (const uid of ["nobody", "win", "again", "unpaid", "paid", "rejected", "recovering"])
      requests.push(["/buy/{ticket}", "get", request("GET", `/buy/${ticketFor(uid)}`)]);
    for (const [method, spelled] of [
      ["post", "POST"],
      ["get", "GET"],
    ] as const) {
      for (const ticket of ["nonsense", ticketFor("win", "sale-1", LONG_AGO_MS), ticketFor("win", "other")])
        requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticket}`)]);
      requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticketFor("win")}`, [`X: ${"x".repeat(9_000)}`])]);
      requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticketFor("win")}`, ["Idempotency-Key: %"])]);
    }
    requests.push(["/buy/{ticket}", "post", request("POST", `/buy/${ticketFor("win")}`, [], " ".repeat(2_000))]);
    requests.push(["/buy/{ticket}", "post", request("POST", `/buy/${ticketFor("win")}`, ["Origin: null"])]);
    for (const saleId of ["none", "silent"]) requests.push(["/sales/{id}", "get", request("GET", `/sales/${saleId}`)]);
    requests.push(["/live", "get", request("GET", "/live")]);
    const seen = new Set<string>();
    for (const [path, method, text] of requests) {
      const answer = await ask(edge.port, text);
      const { code } = JSON.parse(answer?.body ?? "{}") as { code?: string };
      const pair = `${answer?.status} ${code}`;
      const promise = promised(path, method).get(pair);
      expect(promise, `${method} ${path} answered ${pair}`).toBeDefined();
      expect(answer?.headers["content-type"]).toBe(promise?.type);
      for (const name of promise?.headers ?? [])
        if (name !== "retry-after" || outcomeKinds[code as OutcomeCode].retryable)
          expect(answer?.headers[name], `${pair}: ${name}`).toBeDefined();
      checked(path, method, answer);
      seen.add(`${method} ${path} ${pair}`);
    }
    const unseen = [...promised("/buy/{ticket}", "post").keys()].filter((pair) => !seen.has(`post /buy/{ticket} ${pair}`));
    // Only a held answer is 201; held answers have a test of their own.
    expect(unseen).toEqual(["201 confirmed"]);
  });

  it("has no answer that is not given, at any other address", async () => {
    const seen = new Set<string>();
    const wires: Wire[] = [];
    const get = async (
      { port }: EdgeWorld,
      path: string,
      asked: string,
      headers: readonly string[] = [],
    ): Promise<WireAnswer | undefined> => {
      const wire = await Wire.open(port);
      wires.push(wire);
      const answer = await wire.write(request("GET", asked, headers)).answer();
      seen.add(`${path} ${checked(path, "get", answer)}`);
      return answer;
    };
    const upgrade = [
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
    ];
    const live = (at: EdgeWorld, ticket: string, headers: readonly string[] = []) =>
      get(at, "/live", `/live?ticket=${ticket}`, [...upgrade, ...headers]);
    const broken = await startEdgeWorld({
      nowMs: () => {
        throw new Error("a broken clock");
      },
    });
    const stopping = await startEdgeWorld();
    await stopping.mounted.drain();

    for (const [path, asked] of [
      ["/buy/{ticket}", `/buy/${ticketFor("win")}`],
      ["/sales/{id}", `/sales/${SALE}`],
      ["/time", "/time"],
      ["/live", `/live?ticket=${ticketFor("win")}`],
      ["/healthz", "/healthz"],
      ["/readyz", "/readyz"],
    ] as const) {
      await get(edge, path, asked);
      await get(edge, path, asked, ["Transfer-Encoding: chunked"]);
      await get(edge, path, asked, [...(path === "/live" ? upgrade : []), `X: ${"x".repeat(9_000)}`]);
    }
    for (const uid of ["nobody", "again", "rejected", "recovering", "often"]) await get(edge, "/buy/{ticket}", `/buy/${ticketFor(uid)}`);
    for (const ticket of [
      "nonsense",
      ticketFor("win", SALE, LONG_AGO_MS),
      ticketFor("win", "other"),
      `${ticketFor("nobody")}?order=0-1-1-0`,
    ])
      await get(edge, "/buy/{ticket}", `/buy/${ticket}`);
    for (const refusal of [refusals.busy, refusals.tryAgain]) {
      broken.service.standing = (_request, answer) => answer(refusal);
      await get(broken, "/buy/{ticket}", `/buy/${ticketFor("win")}`);
    }
    broken.service.standing = broken.service.isReady = () => {
      throw new Error("a broken service");
    };
    await get(broken, "/buy/{ticket}", `/buy/${ticketFor("win")}`);
    await get(broken, "/readyz", "/readyz");
    await get(stopping, "/readyz", "/readyz");

    const shown = await get(edge, "/sales/{id}", `/sales/${SALE}`);
    await get(edge, "/sales/{id}", `/sales/${SALE}`, [`If-None-Match: ${shown?.headers["etag"]}`]);
    for (const saleId of ["none", "silent"]) await get(edge, "/sales/{id}", `/sales/${saleId}`);
    edge.service.isReadLimited = true;
    await get(edge, "/sales/{id}", `/sales/${SALE}`);
    edge.service.isReadLimited = false;
    broken.service.saleView = () => {
      throw new Error("a broken service");
    };
    await get(broken, "/sales/{id}", `/sales/${SALE}`);
    await get(broken, "/time", "/time");
    expect(Object.keys(JSON.parse(shown?.body ?? "") as object).toSorted()).toEqual(Object.keys(saleSchema.shape).toSorted());

    for (const ticket of ["nonsense", ticketFor("win", SALE, LONG_AGO_MS)]) await live(edge, ticket);
    await live(edge, ticketFor("win"), ["Origin: https://elsewhere.example"]);
    for (let sockets = 0; sockets < 9; sockets++) await live(edge, ticketFor("many"));
    await live(broken, ticketFor("win"));
    await live(stopping, ticketFor("win"));

    for (const wire of wires) wire.destroy();
    broken.close();
    stopping.close();
    for (const path of Object.keys(document.paths))
      expect([path, answersOf(path, "get").filter((pair) => !seen.has(`${path} ${pair}`))]).toEqual([path, []]);
  });

  it("has the frames of a WebSocket", () => {
    const outcomes: readonly Outcome[] = [
      ...Object.values(refusals).filter(({ code }) => code !== "none"),
      { code: "reserved", orderId: "0-1-3-0", units: 2 },
      { code: "confirmed", orderId: "0-1-3-0", units: 2, repeat: true },
      { code: "rejected", orderId: "0-1-3-0", units: 2, reason: "quota" },
      { code: "not_open", opensAtMs: 4_000_000_000_000, retryAfterMs: 61_500 },
    ];
    for (const outcome of outcomes) expect(isFrame("OutcomeFrame", outcomeFrame("a", outcome)), outcome.code).toBe(true);
    for (const outcome of outcomes.filter(({ code }) => code === "confirmed" || code === "rejected" || code === "not_survived"))
      expect(isFrame("StatusFrame", statusFrame(outcome))).toBe(true);
    for (const code of ["bad_request", "too_large"] as const) expect(isFrame("ErrorFrame", errorFrame(code, "because"))).toBe(true);
    expect(isFrame("ErrorFrame", outcomeFrame(1, refusals.badRequest))).not.toBe(true);
    const buys = [
      { ref: 1 },
      { ref: "a", units: 2, key: "k" },
      { ref: 1.5 },
      { ref: 1, units: 0 },
      { ref: 1, key: "%" },
      { ref: 1, more: 1 },
      {},
    ];
    for (const frame of buys.map((fields) => JSON.stringify({ op: "buy", ...fields })))
      expect([frame, isFrame("BuyFrame", frame) === true]).toEqual([frame, typeof readFrame(frame) !== "string"]);
  });
});
