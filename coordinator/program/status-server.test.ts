import { Gauge, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { createStatusServer } from "./status-server.ts";

describe("the status server", () => {
  it("tells health, readiness with its details, and metrics", async () => {
    const registry = new Registry();
    new Gauge({ name: "up", help: "up", registers: [registry] }).set(1);
    let waitingFor: readonly string[] = ["shard 1"];
    const app = createStatusServer({
      ready: () => ({ ok: waitingFor.length === 0, waitingFor }),
      metrics: () => registry.metrics(),
    });
    const get = async (url: string): Promise<unknown> => {
      const { statusCode, headers, body } = await app.inject(url);
      return [statusCode, headers["content-type"], body];
    };
    const json = "application/json; charset=utf-8";
    expect(await get("/healthz")).toEqual([200, json, '{"ok":true}']);
    expect(await get("/readyz")).toEqual([503, json, '{"ok":false,"waitingFor":["shard 1"]}']);
    waitingFor = [];
    expect(await get("/readyz")).toEqual([200, json, '{"ok":true,"waitingFor":[]}']);
    expect(await get("/metrics")).toEqual([200, registry.contentType, expect.stringContaining("\nup 1\n")]);
  });
});
