import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { OutcomeCode, outcomeKinds, refusals } from "./buy/outcome.ts";
import { keys, startEdgeWorld, ticketFor, type EdgeWorld } from "../test/harness/edge-world.ts";
import { ask, request } from "../test/harness/wire.ts";
import { ScriptedBuyService } from "../test/harness/scripted-buy-service.ts";
import { mountDoorbuster } from "./plugin.ts";
import type { TemplatedApp } from "./http/app.ts";

const codes = z.object({ properties: z.object({ code: z.object({ enum: z.array(z.string()) }) }) });
const response = z.object({
  headers: z.record(z.string(), z.unknown()).optional(),
  content: z.record(z.string(), z.object({ schema: z.object({ allOf: z.tuple([z.unknown(), codes]).optional() }) })).optional(),
});
const operation = z.object({ operationId: z.string(), responses: z.record(z.string(), response) });
const pathItem = z.object({ get: operation.optional(), post: operation.optional() });
const document = z
  .object({ openapi: z.literal("3.1.0"), paths: z.record(z.string(), pathItem) })
  .parse(JSON.parse(readFileSync(new URL("openapi.json", import.meta.url), "utf8")));

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

let edge: EdgeWorld;
beforeAll(async () => {
  edge = await startEdgeWorld();
});
afterAll(() => edge.close());

describe("openapi.json", () => {
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
    const app = { get: record("get"), post: record("post"), ws: record("get"), head: ignore, any: ignore };
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
    for (const uid of ["nobody", "win", "again", "rejected", "recovering"])
      requests.push(["/buy/{ticket}", "get", request("GET", `/buy/${ticketFor(uid)}`)]);
    for (const [method, spelled] of [
      ["post", "POST"],
      ["get", "GET"],
    ] as const) {
      for (const ticket of ["nonsense", ticketFor("win", "sale-1", 1), ticketFor("win", "other")])
        requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticket}`)]);
      requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticketFor("win")}`, [`X: ${"x".repeat(9_000)}`])]);
      requests.push(["/buy/{ticket}", method, request(spelled, `/buy/${ticketFor("win")}`, ["Idempotency-Key: %"])]);
    }
    requests.push(["/buy/{ticket}", "post", request("POST", `/buy/${ticketFor("win")}`, [], " ".repeat(2_000))]);
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
      seen.add(`${method} ${path} ${pair}`);
    }
    const unseen = [...promised("/buy/{ticket}", "post").keys()].filter((pair) => !seen.has(`post /buy/{ticket} ${pair}`));
    // Only a held answer is 201; held answers have a test of their own.
    expect(unseen).toEqual(["201 confirmed"]);
  });
});
