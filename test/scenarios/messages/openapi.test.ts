import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { fastify, type FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messageDocument } from "../../../coordinator/messages/api/openapi.ts";
import { messageRoutes, type MessageApi } from "../../../coordinator/messages/api/routes.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { message, newGid } from "../../harness/messages/api.ts";
import { answer, Services } from "../../harness/messages/services.ts";
import { until } from "../../harness/index.ts";
import { openApiDocument } from "../../harness/openapi.ts";

interface Operation {
  readonly requestBody?: { readonly content: Record<string, { readonly schema: object }> };
  readonly responses: Record<string, { readonly content: Record<string, { readonly schema: object }> }>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
}

let text: string;
let document: Document;
let ajv: Ajv2020;
let stores: Stores;
let services: Services;
let coordinator: RunningCoordinator;

beforeAll(async () => {
  const mount = (app: FastifyInstance): void => messageRoutes(app, { tokens: undefined } as MessageApi);
  text = await openApiDocument({ ...messageDocument, mount });
  document = JSON.parse(text) as Document;
  ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(document, "doc");
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
  coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_ROUNDS: "1" });
});
afterAll(async () => {
  await coordinator?.stop();
  await Promise.all([services?.stop(), stores?.stop()]);
});

const pointer = (parts: readonly string[]): string =>
  `doc#/${parts.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`;

const validator = (path: string, method: string, status: number): ValidateFunction => {
  const at = ["paths", path, method, "responses", String(status), "content", "application/json", "schema"];
  return ajv.compile({ $ref: pointer(at) });
};

const seen = new Set<string>();

/** Calls the running service and holds the answer against the file. */
const call = async (method: "get" | "post" | "delete", template: string, path: string, body?: unknown): Promise<number> => {
  const operation = document.paths[template]?.[method];
  if (body !== undefined && operation !== undefined) {
    const valid = ajv.compile({ $ref: pointer(["paths", template, method, "requestBody", "content", "application/json", "schema"]) });
    expect([valid(body), valid.errors], `request of ${method} ${template}`).toEqual([true, null]);
  }
  const response = await fetch(coordinator.url + path, {
    method: method.toUpperCase(),
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  expect(Object.keys(operation?.responses ?? {}), `${method} ${template}`).toContain(String(response.status));
  if (template !== "/api/metrics") {
    const valid = validator(template, method, response.status);
    expect([valid(await response.json()), valid.errors], `answer ${response.status} of ${method} ${template}`).toEqual([true, null]);
  } else await response.text();
  seen.add(`${method} ${template} ${response.status}`);
  return response.status;
};

describe("openapi.json", () => {
  it("is what `npm run openapi` writes", async () => {
    await expect(text).toMatchFileSnapshot("../../../coordinator/messages/api/openapi.json");
  });

  it("lists exactly the routes of the service", () => {
    const app = fastify();
    const routes = new Set<string>();
    app.addHook("onRoute", ({ method, url }) => {
      for (const one of [method].flat()) if (one !== "HEAD") routes.add(`${one.toLowerCase()} ${url.replace(":name", "{name}")}`);
    });
    messageRoutes(app, { tokens: undefined } as MessageApi);
    return app.ready().then(() => {
      const listed = Object.entries(document.paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method} ${path}`),
      );
      // ping takes any method
      expect([...routes].filter((route) => !route.endsWith("/api/ping") || route.startsWith("get ")).toSorted()).toEqual(listed.toSorted());
    });
  });

  it("describes what the running service answers", async () => {
    const P = "/api/dtmsvr";
    const at = (name: string): string => P + name;
    const get = (template: string, query = ""): Promise<number> => call("get", at(template), at(template) + query);
    const post = (template: string, body: unknown): Promise<number> => call("post", at(template), at(template), body);
    const query = { query_prepared: `${services.url}/query`, timeout_to_fail: 600 };
    const dead = services.on("/dead", answer(500));
    const [one, two, three, none] = [newGid("a"), newGid("b"), newGid("c"), newGid("none")];

    expect(await get("/version")).toBe(200);
    expect(await get("/newGid")).toBe(200);
    expect(await post("/prepare", message(one, [[`${services.url}/x`, "{}"]], query))).toBe(200);
    expect(await get("/query", `?gid=${one}`)).toBe(200);
    expect(await post("/submit", message(one, [[`${services.url}/x`, "{}"]], { wait_result: true }))).toBe(200);
    expect(await get("/query", `?gid=${one}`)).toBe(200);
    expect(await post("/prepare", message(one, [], query))).toBe(409);
    expect(await post("/abort", { gid: one, trans_type: "msg" })).toBe(409);
    expect(await post("/abort", { gid: none })).toBe(404);
    expect(await post("/submit", message(two, [[dead, "{}"]], { wait_result: true }))).toBe(425);
    await until(
      async () =>
        ((await (await fetch(`${coordinator.url}${P}/deadLetters`)).json()) as { transactions: unknown[] }).transactions.length === 1,
      "a dead letter",
    );
    expect(await get("/deadLetters")).toBe(200);
    expect(await post("/resetNextCronTime", { gid: two })).toBe(409);
    expect(await post("/deadLetters/fail", { gid: two })).toBe(200);
    expect(await post("/deadLetters/fail", { gid: two })).toBe(409);
    expect(await post("/deadLetters/retry", { gid: two })).toBe(409);
    expect(await post("/deadLetters/retry", { gid: none })).toBe(404);
    expect(await post("/deadLetters/fail", { gid: none })).toBe(404);
    expect(await get("/query", `?gid=${two}`)).toBe(200);
    expect(await post("/prepare", message(three, [], query))).toBe(200);
    expect(await get("/resetCronTime", "?timeout=60")).toBe(200);
    expect(await post("/resetNextCronTime", { gid: none })).toBe(404);
    expect(await post("/forceStop", { gid: none })).toBe(404);
    expect(await post("/forceStop", { gid: one })).toBe(409);
    expect(await get("/all", "?limit=2")).toBe(200);
    expect(await get("/all", `?gid=${three}`)).toBe(200);
    expect(await get("/all", "?limit=0")).toBe(400);
    expect(await get("/query", "?gid=nobody")).toBe(200);
    expect(await get("/query")).toBe(400);
    const url = encodeURIComponent(`${services.url}/sub`);
    expect(await get("/subscribe", `?topic=t&url=${url}`)).toBe(200);
    expect(await get("/subscribe", `?topic=t&url=${url}`)).toBe(409);
    expect(await get("/unsubscribe", `?topic=t&url=${url}`)).toBe(200);
    expect(await get("/unsubscribe", `?topic=t&url=${url}`)).toBe(409);
    expect(await call("delete", `${P}/topic/{name}`, `${P}/topic/t`)).toBe(409);
    const bulk = [
      { call: "prepare", body: message(newGid("d"), [], query) },
      { call: "submitPrepared", body: { gid: none } },
      { call: "abort", body: { gid: none } },
      { call: "submit", body: {} },
    ];
    expect(await post("/bulk", bulk)).toBe(200);
    expect(await call("get", "/api/metrics", "/api/metrics")).toBe(200);
    expect(await call("get", "/api/ping", "/api/ping")).toBe(200);
    for (const [path, operations] of Object.entries(document.paths))
      for (const method of Object.keys(operations))
        expect(
          [...seen].some((one) => one.startsWith(`${method} ${path} `)),
          `${method} ${path}`,
        ).toBe(true);
  });
});
