import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Barrier, Coordinator, Message, statusOf, Step, type Sent } from "../../../coordinator/messages/client/index.ts";
import { until } from "../../harness/index.ts";
import { Api, newGid } from "../../harness/messages/api.ts";
import { crashBuying } from "../../harness/messages/crash.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { Services } from "../../harness/messages/services.ts";

/** Two calls with one gid, one of which finds no stock just before some comes back, and dies or is slow at any point. */
let stores: Stores;
let coordinator: RunningCoordinator;
let services: Services;
let client: Coordinator;
let redis: Redis;
let api: Api;

beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
  // nothing asks back before the test says so: how long a process takes to start decides nothing
  coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "600000" });
  client = new Coordinator({ url: coordinator.url });
  api = new Api(coordinator.url);
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

/** The query-back is made due now; what has ended already says so (409), or does not care. */
const settled = async (gid: string): Promise<string> => {
  await api.post("/resetNextCronTime", { gid });
  await until(async () => ["succeed", "failed"].includes(await api.status(gid)), `message ${gid} to end`);
  return api.status(gid);
};

/** The unit is in the stock, or somebody's order has it: exactly one of them. */
const unitIsKept = async (gid: string): Promise<void> => {
  const state = await settled(gid);
  const orders = services.at("/order", gid).length;
  expect({ state, orders, stock: await redis.get(`stock:${gid}`) }).toEqual(
    state === "succeed" ? { state, orders: 1, stock: "0" } : { state, orders: 0, stock: "1" },
  );
};

const message = (gid: string): Message => new Message(gid, client).add(`${services.url}/order`, { gid });

describe.each(["prepared", "stepped", "ended"] as const)("a call killed when it is %s", (dieAt) => {
  it.each(["before it", "after it", "never"])("whose rival found no stock and aborts %s: no unit is lost", async (abort) => {
    const gid = newGid("rivals");
    const stockKey = `stock:${gid}`;
    await redis.set(stockKey, 0);
    let hasLooked = false;
    let mayAbort = false;
    const slow: Promise<Sent> = message(gid).doAndSubmit(`${services.url}/query`, async (barrier) => {
      const made = await barrier.checkAdjustAmount(redis, stockKey, -1);
      expect(made).toBe(Step.failure);
      hasLooked = true;
      await until(() => mayAbort, "its turn", 60_000);
      return made;
    });
    await until(() => hasLooked, "the rival to find no stock");
    await redis.set(stockKey, 1);
    if (abort === "before it") {
      mayAbort = true;
      await slow;
    }
    const { url } = services;
    const places = { coordinator: coordinator.url, redis: stores.redis[0]?.url ?? "", query: `${url}/query`, branch: `${url}/order` };
    await crashBuying({ ...places, gid, stockKey, dieAt });
    // a rival that never aborts is one that was killed: the query-back ends the message
    if (abort === "never") await settled(gid);
    mayAbort = true;
    expect((await slow).status).toBe("failed");
    await unitIsKept(gid);
  });
});

describe("a step that fails without having asked the barrier", () => {
  it("is decided by the query URL: a rival's success is not aborted", async () => {
    const gid = newGid("own-step");
    await redis.set(`stock:${gid}`, 1);
    const sent = await message(gid).doAndSubmit(`${services.url}/query`, async () => {
      await Barrier.ofMessage(gid).checkAdjustAmount(redis, `stock:${gid}`, -1);
      return Step.failure;
    });
    expect(sent.status).toBe("submitted");
    await unitIsKept(gid);
  });
});

describe("a local step of several operations", () => {
  it("is refused at the second: a query-back would take the first for both", async () => {
    const gid = newGid("several");
    const barrier = Barrier.ofMessage(gid);
    await redis.mset(`stock:${gid}`, 1, `other:${gid}`, 1);
    expect(await barrier.checkAdjustAmount(redis, `stock:${gid}`, -1)).toBe(Step.done);
    await expect(barrier.checkAdjustAmount(redis, `other:${gid}`, -1)).rejects.toThrow("one operation behind the barrier");
    expect(await redis.get(`other:${gid}`)).toBe("1");
  });
});
