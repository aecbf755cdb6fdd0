import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Barrier, Coordinator, Message, statusOf, type Sent } from "../../../coordinator/messages/client/index.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { Services } from "../../harness/messages/services.ts";
import { until } from "../../harness/index.ts";

let stores: Stores;
let coordinator: RunningCoordinator;
let services: Services;
let client: Coordinator;
let redis: Redis;

beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
  // nothing here may depend on how long anything takes: no query-back, no repeated delivery
  coordinator = await startCoordinator(stores, {
    DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "600000",
    DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS: "60000",
  });
  client = new Coordinator({ url: coordinator.url });
  redis = new Redis(stores.redis[0]?.url ?? "");
  services.on("/query", async (received, response) => {
    response.writeHead(statusOf(await Barrier.fromRequest(received.query).queryPrepared(redis))).end();
  });
});
afterAll(async () => {
  redis?.disconnect();
  await client?.close();
  await coordinator?.stop();
  await Promise.all([services?.stop(), stores?.stop()]);
});

const RUNS = 1_000;

describe("a double click", () => {
  it(`on the last unit, ${RUNS} times: both answers are the same win, no unit is lost`, async () => {
    const buy = (run: number): Promise<Sent> =>
      new Message(`flash-sale-${run}-alice`, client)
        .add(`${services.url}/order`, { run })
        .doAndSubmit(`${services.url}/query`, (barrier) => barrier.checkAdjustAmount(redis, `stock:${run}`, -1));
    let next = 0;
    const clicker = async (): Promise<void> => {
      while (next < RUNS) {
        const run = next;
        next += 1;
        await redis.set(`stock:${run}`, 1);
        const [first, second] = await Promise.all([buy(run), buy(run)]);
        expect([first.status, second.status]).toEqual(["submitted", "submitted"]);
        expect(await redis.get(`stock:${run}`)).toBe("0");
      }
    };
    await Promise.all(Array.from({ length: 16 }, clicker));
    await until(() => new Set(services.at("/order").map(({ query }) => query["gid"])).size === RUNS, "an order for every unit");
    expect(services.at("/order")).toHaveLength(RUNS);
  });

  it("by somebody who finds nothing left is refused both times, takes nothing, and is barred for good", async () => {
    await redis.set("stock:none", 0);
    const buy = (): Promise<Sent> =>
      new Message("flash-sale-none-bob", client)
        .add(`${services.url}/order`, {})
        .doAndSubmit(`${services.url}/query`, (barrier) => barrier.checkAdjustAmount(redis, "stock:none", -1));
    expect((await Promise.all([buy(), buy()])).map(({ status }) => status)).toEqual(["failed", "failed"]);
    await redis.set("stock:none", 1);
    expect(await buy()).toMatchObject({ status: "failed" });
    expect([await redis.get("flash-sale-none-bob-00-msg-01"), await redis.get("stock:none")]).toEqual(["rollback", "1"]);
  });

  it("whose other half aborted just before stock came back takes nothing", async () => {
    await redis.set("stock:back", 1);
    const message = (): Message => new Message("flash-sale-back-carol", client).add(`${services.url}/order`, {});
    const sent = await message().doAndSubmit(`${services.url}/query`, async (barrier) => {
      await message().abort("the other half found nothing");
      return barrier.checkAdjustAmount(redis, "stock:back", -1);
    });
    expect(sent).toMatchObject({ status: "failed" });
    expect(sent).not.toHaveProperty("compensate");
    expect(await redis.get("stock:back")).toBe("1");
  });
});
