import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../test/harness/index.ts";
import { keys, ticketFor } from "../test/harness/edge-world.ts";
import { buyAt, gatewayService } from "../test/harness/gateway-service.ts";
import { startGatewayWorld, type GatewayWorld } from "../test/harness/gateway-world.ts";
import { refusals, type Outcome } from "./buy/outcome.ts";

const SALE = "sale";
let world: GatewayWorld;
let service: ReturnType<typeof gatewayService>;
const lines: Readonly<Record<string, unknown>>[] = [];

beforeAll(async () => {
  world = await startGatewayWorld();
  await world.openSale({ id: SALE, limitPerBuyer: 2 }, 100);
  service = gatewayService(world, keys, { onLine: (line) => lines.push(line) });
  await until(() => service.isReady() && service.saleView(SALE) !== undefined, "the service to know the sale");
});
afterAll(async () => {
  await service.drain();
  await world.stop();
});

const buy = (uid: string, more: { readonly units?: number; readonly key?: string } = {}): Promise<Outcome> =>
  buyAt(service, keys, { saleId: SALE, uid, ...more });
const standing = (uid: string, key = ""): Promise<Outcome> =>
  new Promise((resolve) => service.standing({ ticket: ticketFor(uid, SALE), key, address: "" }, resolve));
const left = async (): Promise<number> => Number(await world.client(0).hget(`{s0}:sale:${SALE}`, "left"));

describe("a shard whose Redis refuses", () => {
  it("what writes, because it is full: holders hear their first answer, all others busy, until there is room", async () => {
    const a = await buy("a", { key: "k" });
    const b = await buy("b", { units: 2 });
    await world.apply(0);
    const c = await buy("c");
    const before = await left();
    await world.client(0).config("SET", "maxmemory", 1);
    try {
      expect(await Promise.all([buy("a", { key: "k" }), buy("b", { units: 2 }), buy("c"), buy("a", { key: "other" }), buy("d")])).toEqual([
        { ...a, code: "confirmed", repeat: true },
        { ...b, code: "confirmed", repeat: true },
        { ...c, repeat: true },
        refusals.refused,
        refusals.refused,
      ]);
      expect(await standing("a", "k")).toMatchObject({ code: "confirmed", orderId: a.orderId });
      expect(await left()).toBe(before);
    } finally {
      await world.client(0).config("SET", "maxmemory", 0);
    }
    expect([...service.refusing()]).toEqual([[0, "OOM"]]);
    expect(await buy("d")).toMatchObject({ code: "reserved" });
    expect([...service.refusing()]).toEqual([]);
  });

  it("everything: nobody is told anything but that it recovers, and nothing was taken", async () => {
    const e = await buy("e");
    const before = await left();
    await world.client(0).call("ACL", "SETUSER", "default", "-evalsha");
    try {
      expect(await Promise.all([buy("e"), buy("f")])).toEqual([refusals.recovering, refusals.recovering]);
      expect(await standing("e")).toEqual(refusals.recovering);
      expect([...service.refusing()]).toEqual([[0, "NOPERM"]]);
    } finally {
      await world.client(0).call("ACL", "SETUSER", "default", "+@all");
    }
    expect(await left()).toBe(before);
    expect(await buy("e")).toEqual({ ...e, repeat: true });
  });

  it("is counted for every batch and logged once, with what an operator has to look at", async () => {
    await world.client(0).config("SET", "maxmemory", 1);
    for (const uid of ["g", "h", "i"]) expect(await buy(uid)).toEqual(refusals.refused);
    await world.client(0).config("SET", "maxmemory", 0);
    const metrics = await service.registry.metrics();
    expect(metrics).toContain('doorbuster_gateway_redis_refusals_total{shard="0",error="OOM"} 4');
    const alerts = lines.filter(({ alert, error }) => alert === true && error === "OOM");
    expect(alerts).toMatchObject([
      { shard: 0, cause: "maxmemory is reached", msg: "Redis refuses purchases: it has to be looked at" },
      // another error came in between
      { shard: 0, cause: "maxmemory is reached" },
    ]);
  });
});
