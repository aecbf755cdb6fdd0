import { afterAll, beforeAll, expect, it } from "vitest";
import type { SaleRecord } from "#protocol/sale";
import { until } from "../../test/harness/index.ts";
import { keys, ticketFor } from "../../test/harness/edge-world.ts";
import { buyAt, gatewayService } from "../../test/harness/gateway-service.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import type { Outcome } from "./outcome.ts";

let world: GatewayWorld;
let service: ReturnType<typeof gatewayService>;
beforeAll(async () => {
  world = await startGatewayWorld();
  service = gatewayService(world, keys);
});
afterAll(async () => {
  await service.drain();
  await world.stop();
});

it.each([
  ["window", "its window is over", { opensAtMs: 1_000, closesAtMs: 2_000 }],
  ["state", "it was closed", { state: "closed" }],
] as const)("a sold-out sale has ended (%s), because %s: losers hear closed, winners their first answer", async (saleId, _why, change) => {
  const buy = (uid: string): Promise<Outcome> => buyAt(service, keys, { saleId, uid });
  const refusal = (uid: string): string | undefined => service.refusal(ticketFor(uid, saleId))?.code;
  await world.openSale({ id: saleId }, 2);
  await until(() => service.isReady() && service.saleView(saleId) !== undefined, "the service to know the sale");
  const first = await buy("a");
  await buy("b");
  const over: SaleRecord = { ...(service.saleView(saleId)?.record as SaleRecord), ...change, version: 2 };
  await world.putRecord(over);
  await until(() => service.saleView(saleId)?.record.version === 2, "the end to be known");
  // Redis, which has not heard of it yet, says that it has no unit
  expect(await buy("x")).toMatchObject({ code: "closed" });
  world.flags = [{ saleId, version: 1 }];
  await until(() => refusal("x") === "closed", "the short cut to say so");
  expect(refusal("a")).toBeUndefined();
  expect(await buy("a")).toEqual({ ...first, repeat: true });
  await world.define(over, 0, 1);
  world.flags = [];
  await until(() => service.saleView(saleId)?.soldOut === false, "the flag to be withdrawn");
  expect(await buy("x")).toMatchObject({ code: "closed" });
  await world.apply(0);
  expect(await buy("a")).toEqual({ ...first, code: "confirmed", repeat: true });
});
