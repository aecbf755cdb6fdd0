import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { names, startShardWorld, type ShardWorld } from "../test/harness/shard-world.ts";
import { silent } from "../test/harness/coordinator-world.ts";
import { until } from "../test/harness/index.ts";
import { request, Wire } from "../test/harness/wire.ts";
import { COORDINATOR_SETTINGS, runCoordinator, type CoordinatorAddresses } from "./coordinator.ts";
import { readConfig } from "#program/config";
import type { PlacedProblem } from "#program/setting-problems";
import { LOG_STREAM, SALES_BUCKET } from "#protocol/subjects";
import { saleRecord } from "../test/harness/sale-record.ts";

let world: ShardWorld;
beforeEach(async () => {
  world = await startShardWorld();
});
afterEach(async () => {
  await world.stop();
});

interface Running {
  get(path: string): Promise<Response>;
  /** of the address for Prometheus */
  page(path: string): Promise<Response>;
  /** asks it to, and does not wait */
  tellToStop(): void;
  stop(): Promise<void>;
  readonly ended: Promise<void>;
  readonly port: number;
}

const run = async (leaseMs = 900): Promise<Running> => {
  const stop = new AbortController();
  let ended: Promise<void> = Promise.resolve();
  const { url, metrics } = await new Promise<CoordinatorAddresses>((listening, failed) => {
    ended = runCoordinator({
      config: readConfig(COORDINATOR_SETTINGS, {
        REDIS_SHARDS: world.server.url,
        NATS_URL: world.nats.url,
        NATS_USER: world.nats.user,
        NATS_PASSWORD: world.nats.pass,
        DOORBUSTER_COORDINATOR_PORT: "0",
        DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
        DOORBUSTER_LEASE_MS: String(leaseMs),
        DOORBUSTER_LOG_BYTES: String(16 << 20),
      }),
      log: silent,
      stop: stop.signal,
      listening,
    });
    ended.catch(failed);
  });
  return {
    ended,
    get: (path) => fetch(`${url}${path}`, { headers: { connection: "close" } }),
    page: (path) => fetch(`${metrics}${path}`, { headers: { connection: "close" } }),
    port: Number(new URL(url).port),
    tellToStop: () => stop.abort(),
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
};

const problemsOf = async (coordinator: Running): Promise<readonly PlacedProblem[]> =>
  ((await (await coordinator.get("/readyz")).json()) as { readonly settings: readonly PlacedProblem[] }).settings;

describe("the coordinator", () => {
  it("says when it is ready, and what it does", async () => {
    const coordinator = await run();
    expect((await coordinator.get("/healthz")).status).toBe(200);
    await until(async () => (await coordinator.get("/readyz")).status === 200, "readiness");
    for (const path of ["/healthz", "/readyz"]) expect((await coordinator.page(path)).status).toBe(200);
    // services that call the message API are told nothing of the inside
    expect((await coordinator.get("/metrics")).status).toBe(404);
    const { epoch } = await world.untilOpen();
    await world.openSale("a", 10);
    await world.buy("a", names("u", 5));
    await world.untilApplied(names("u", 5));
    const metrics = await (await coordinator.page("/metrics")).text();
    expect(metrics).toContain(`doorbuster_shard_epoch{shard="0"} ${epoch}`);
    expect(metrics).toContain('doorbuster_shard_open{shard="0"} 1');
    expect(metrics).toContain('doorbuster_shard_lease{shard="0"} 1');
    expect(metrics).toContain('doorbuster_epoch_attempts_total{shard="0",result="opened"} 1');
    await coordinator.stop();
  });

  it("is not ready from the moment at which it is told to stop, with leases and without", async () => {
    const both = [await run(), await run()];
    const statuses = (wires: readonly Wire[]): Promise<(number | undefined)[]> =>
      Promise.all(wires.map(async (wire) => (await wire.write(request("GET", "/readyz")).answer())?.status));
    for (const one of both) await until(async () => (await one.get("/readyz")).status === 200, "readiness");
    const wires = await Promise.all(both.map(({ port }) => Wire.open(port)));
    expect(await statuses(wires)).toEqual([200, 200]);
    // what they have begun cannot end while Redis stands still, so their pages are there until that is over
    process.kill(world.server.pid, "SIGSTOP");
    for (const coordinator of both) coordinator.tellToStop();
    expect(await statuses(wires)).toEqual([503, 503]);
    process.kill(world.server.pid, "SIGCONT");
    for (const wire of wires) wire.destroy();
    for (const coordinator of both) await coordinator.stop();
  });

  it("gives its leases up when it stops", async () => {
    const coordinator = await run(60_000);
    await world.untilOpen();
    await coordinator.stop();
    expect((await world.state()).leaseToken).toBe("");
    const next = await run();
    await until(async () => (await next.get("/readyz")).status === 200, "the next to be ready", 5_000);
    expect((await world.state()).epoch).toBe(1);
    await next.stop();
  });

  it("starts and stops while Redis and the broker are away, is not ready, and recovers when they are back", async () => {
    await world.nats.kill();
    await world.server.kill();
    const early = await run();
    expect((await early.get("/readyz")).status).toBe(503);
    await early.stop();
    const coordinator = await run();
    await world.server.start();
    expect((await coordinator.get("/readyz")).status).toBe(503);
    await world.nats.start();
    await world.untilOpen();
    await until(async () => (await coordinator.get("/readyz")).status === 200, "readiness");
    await world.server.kill();
    await until(async () => (await coordinator.get("/readyz")).status === 503, "the dead Redis to be noticed");
    await world.server.start();
    await world.untilOpen(2);
    await coordinator.stop();
  });

  it("opens nothing on a log that is configured so that it cannot work, says which setting, and goes on when it is right", async () => {
    await world.manager.streams.add({ name: LOG_STREAM, subjects: ["orders.*"], retention: "workqueue" as never });
    const coordinator = await run();
    await until(async () => (await coordinator.get("/readyz")).status === 503 && (await problemsOf(coordinator)).length > 0, "the problem");
    expect(await problemsOf(coordinator)).toContainEqual({
      place: "NATS",
      setting: "retention",
      found: '"workqueue"',
      wanted: '"limits"',
      verdict: "refuse",
      breaks: expect.any(String),
    });
    expect(await (await coordinator.page("/metrics")).text()).toContain(
      'doorbuster_setting_problem{place="NATS",setting="retention",verdict="refuse"} 1',
    );
    expect(await world.isOpen()).toBe(false);
    await world.manager.streams.delete(LOG_STREAM);
    await world.untilOpen();
    await until(async () => (await problemsOf(coordinator)).length === 0, "the problem to be gone");
    await coordinator.stop();
  });

  it("corrects what it can of the log's configuration", async () => {
    await world.manager.streams.add({ name: LOG_STREAM, subjects: ["orders.*"], max_msgs: 5, max_bytes: 1 << 20 });
    const coordinator = await run();
    await world.untilOpen();
    const { config } = await world.manager.streams.info(LOG_STREAM);
    expect(config).toMatchObject({ max_msgs: -1, max_bytes: 16 << 20, discard: "new" });
    await coordinator.stop();
  });

  it("flags a sale that is sold out, by itself", async () => {
    const bucket = await (await world.connect()).jetstream().views.kv(SALES_BUCKET);
    const coordinator = await run();
    await world.untilOpen();
    await world.openSale("a", 2);
    await bucket.put("a", JSON.stringify(saleRecord({ id: "a", totalUnits: 2, closesAtMs: Date.now() + 1_000_000 })));
    const flagged = async (): Promise<boolean> =>
      (await world.database.sql("SELECT sold_out_version FROM sales")).rows[0]?.["sold_out_version"] !== null;
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    expect(await flagged()).toBe(false);
    await world.buy("a", ["u1"]);
    await until(flagged, "the flag");
    await coordinator.stop();
  });
});
