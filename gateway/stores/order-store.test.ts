import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { publications, publicationSubject, requests, WORKERS, type OrderState } from "#protocol";
import { readConfig } from "#program";
import { until } from "../../test/harness/index.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import type { Outcome } from "../buy/outcome.ts";
import type { BuyService } from "../buy/service.ts";
import { signTicket, ticketKeys, ticketReader } from "../identity/ticket.ts";
import { BUY_SETTINGS, buyServiceOn } from "../open.ts";

const SECRET = "a secret of the test";
const keys = ticketKeys([{ id: "k1", secret: SECRET }]);
const ticketOf = (saleId: string): string => signTicket(keys, { saleId, uid: "ann", expiresAtMs: Date.now() + 600_000 });

let world: GatewayWorld;
let service: BuyService;
let sales = 0;
beforeAll(async () => {
  world = await startGatewayWorld();
  // the bucket of sales is there with the first of them
  await world.openSale({ id: "probe" }, 0);
});
afterAll(() => world.stop());
beforeEach(async () => {
  const config = readConfig(BUY_SETTINGS, {
    REDIS_SHARDS: world.redis.map(({ url }) => url).join(","),
    NATS_URL: world.nats.url,
    DOORBUSTER_TICKET_KEYS: `k1:${SECRET}`,
    DOORBUSTER_READ_RATE: "0",
  });
  const log = pino({ level: "silent" });
  service = buyServiceOn({ config, nats: world.connection, tickets: ticketReader(keys), log, registry: new Registry() });
  await until(() => service.isReady(), "the service is ready");
});
afterEach(() => service.drain());

const buy = (saleId: string): Promise<Outcome> =>
  new Promise((resolve) => service.buy({ ticket: ticketOf(saleId), address: "", units: 1, key: "" }, resolve));
const standing = (saleId: string, key = ""): Promise<Outcome> =>
  new Promise((resolve) => service.standing({ ticket: ticketOf(saleId), address: "", key }, resolve));

describe("what became of an order", () => {
  const PAY_BY_MS = Date.now() + 60_000;
  const orderOf = (orderId: string, state: OrderState = "pending_payment") => ({
    orderId,
    units: 1,
    state,
    payByMs: state === "pending_payment" ? PAY_BY_MS : null,
    reason: null,
  });
  /** A sale with one buyer, whose order is in Postgres. */
  const bought = async (): Promise<{ readonly sale: string; readonly orderId: string }> => {
    const sale = `sale-${(sales += 1)}`;
    await world.openSale({ id: sale }, 10);
    await until(() => service.saleView(sale) !== undefined, `${sale} is known`);
    const { orderId = "" } = await buy(sale);
    return { sale, orderId };
  };

  it("is told beside confirmed, and nothing is asked before; a thousand looks are one question", async () => {
    const { sale, orderId } = await bought();
    const workers = world.answerOrders(() => orderOf(orderId));
    try {
      expect(await standing(sale)).not.toHaveProperty("order");
      expect(workers.asked).toEqual([]);
      await world.apply(0);
      const told = { code: "confirmed", orderId, order: { state: "pending_payment", payByMs: PAY_BY_MS } };
      for (const answer of await Promise.all(Array.from({ length: 1_000 }, () => standing(sale)))) expect(answer).toMatchObject(told);
      expect(workers.asked).toEqual([["ann"]]);
      expect(await buy(sale)).not.toHaveProperty("order");
    } finally {
      workers.stop();
    }
  });

  it("is the new one as soon as a worker has said that it changed, and no worse off for an event that cannot be read", async () => {
    const { sale, orderId } = await bought();
    let state: OrderState = "pending_payment";
    const workers = world.answerOrders(() => orderOf(orderId, state));
    try {
      await world.apply(0);
      expect(await standing(sale)).toMatchObject({ order: { state } });
      state = "paid";
      const say = (text: string): void => world.connection.publish(publicationSubject(publications.ordersChanged, 0), text);
      say("{");
      say('{"orders":7}');
      say(JSON.stringify({ orders: [orderId], later: 1 }));
      await world.connection.flush();
      await until(async () => (await standing(sale)).order?.state === "paid", "the payment to be seen");
      expect(await standing(sale)).toMatchObject({ code: "confirmed", order: { state: "paid", payByMs: null } });
    } finally {
      workers.stop();
    }
  });

  it("is left out where no worker answers, and told when one does again", async () => {
    const { sale, orderId } = await bought();
    await world.apply(0);
    const answer = await standing(sale);
    expect(answer).toMatchObject({ code: "confirmed", orderId });
    expect(answer).not.toHaveProperty("order");
    const workers = world.answerOrders(() => orderOf(orderId, "expired"));
    await until(async () => (await standing(sale)).order?.state === "expired", "a worker to be asked");
    workers.stop();
  });

  it("does not hold up a process that ends", async () => {
    const { sale } = await bought();
    await world.apply(0);
    let isAsked = false;
    const hanging = world.connection.subscribe(requests.purchaseOrders.subject, { queue: WORKERS, callback: () => (isAsked = true) });
    const answer = standing(sale);
    await until(() => isAsked, "a worker to be asked");
    await service.drain();
    expect(await answer).toMatchObject({ code: "confirmed" });
    hanging.unsubscribe();
  });
});
