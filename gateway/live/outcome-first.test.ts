import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { until } from "../../test/harness/index.ts";
import { keys, ticketFor } from "../../test/harness/edge-world.ts";
import { FaultProxy } from "../../test/harness/fault-proxy.ts";
import { buyAt, gatewayService } from "../../test/harness/gateway-service.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import { request, Wire } from "../../test/harness/wire.ts";
import type { Outcome } from "../buy/outcome.ts";
import type { BuyService } from "../buy/service.ts";
import { createApp, listen } from "../http/app.ts";
import { mountDoorbuster, type Mounted } from "../plugin.ts";
import { OutcomeFirst } from "./outcome-first.ts";

describe("what one socket hears", () => {
  const reserved = (orderId: string): Outcome => ({ code: "reserved", orderId });
  const confirmed = (orderId: string): Outcome => ({ code: "confirmed", orderId });
  const socket = (): { order: OutcomeFirst; heard: string[] } => {
    const heard: string[] = [];
    const send = (frame: string): void => {
      const { op, orderId } = frame.startsWith("{") ? (JSON.parse(frame) as { op: string; orderId?: string }) : { op: frame, orderId: "" };
      heard.push(`${op} ${orderId ?? ""}`.trim());
    };
    return { order: new OutcomeFirst(send), heard };
  };

  it("is the outcome first, then the push, and pushes in the order in which they came", () => {
    const { order, heard } = socket();
    const answer = order.begin();
    order.push(confirmed("b"));
    order.push(confirmed("a"));
    expect(heard).toEqual([]);
    answer(reserved("b"), "outcome");
    expect(heard).toEqual(["outcome", "status b", "status a"]);
  });

  it("is at once what cannot be about a purchase that is undecided", () => {
    const { order, heard } = socket();
    order.push(confirmed("elsewhere"));
    order.begin()(reserved("a"), "outcome");
    order.begin();
    order.push(confirmed("a"));
    expect(heard).toEqual(["status elsewhere", "outcome", "status a"]);
  });

  it("does not wait for purchases that are made later", () => {
    const { order, heard } = socket();
    const [first, second] = [order.begin(), order.begin()];
    order.push(confirmed("a"));
    order.begin();
    second({ code: "sold_out" }, "second");
    expect(heard).toEqual(["second"]);
    first({ code: "try_again" }, "first");
    expect(heard).toEqual(["second", "first", "status a"]);
    expect(order.undecided).toBe(1);
  });
});

describe("a status event that comes before Redis's answer", () => {
  const SALE = "overtaken";
  let world: GatewayWorld;
  let proxy: FaultProxy;
  let service: BuyService;
  let mounted: Mounted;
  let port: number;
  let close: () => void;
  const sockets: WebSocket[] = [];

  beforeAll(async () => {
    world = await startGatewayWorld();
    proxy = await FaultProxy.open(world.redis[0]?.port ?? 0);
    await world.openSale({ id: SALE }, 100);
    service = gatewayService(world, keys, {
      config: { REDIS_SHARDS: [proxy.through(world.redis[0]?.url ?? "")], DOORBUSTER_DECISION_TIMEOUT_MS: 30_000 },
    });
    await until(() => service.isReady() && service.saleView(SALE) !== undefined, "the service to know the sale");
    // afterwards Redis has the script: the first call that is held below is the one that decides
    await buyAt(service, keys, { saleId: SALE, uid: "first" });
    const app = createApp();
    mounted = mountDoorbuster(app, { service, tickets: keys });
    const listener = await listen(app, "127.0.0.1", 0);
    ({ port } = listener);
    close = () => void app.close();
  });
  afterEach(() => {
    proxy.set({ kind: "pass" });
    for (const socket of sockets.splice(0)) socket.terminate();
  });
  afterAll(async () => {
    close();
    await service.drain();
    await proxy.close();
    await world.stop();
  });

  const live = async (uid: string): Promise<{ socket: WebSocket; frames: Record<string, unknown>[] }> => {
    const frames: Record<string, unknown>[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${port}/live?ticket=${ticketFor(uid, SALE)}`);
    sockets.push(socket);
    socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString()) as Record<string, unknown>));
    await new Promise((resolve) => void socket.on("open", resolve));
    return { socket, frames };
  };
  /** Redis has decided, and its answer is held; the worker has applied that, and this process has heard so. */
  const overtake = async (uid: string, buy: () => void): Promise<void> => {
    proxy.set({ kind: "holdAnswers" });
    buy();
    await until(async () => (await world.client(0).hexists(`{s0}:buyers:${SALE}`, uid)) === 1, "Redis to decide");
    await world.apply(0);
    // the same connection brings the event: it is here before the flush is answered
    await world.connection.flush();
  };

  it("is told on a socket after the outcome, and at once on a socket that only watches", async () => {
    const [buyer, watcher] = await Promise.all([live("ann"), live("ann")]);
    await overtake("ann", () => buyer.socket.send('{"op":"buy","ref":1}'));
    await until(() => watcher.frames.length > 0, "the watcher to hear of it");
    expect(buyer.frames).toEqual([]);
    proxy.set({ kind: "pass" });
    await until(() => buyer.frames.length >= 2, "the buyer to hear both");
    const { orderId } = buyer.frames[0] as { orderId?: string };
    expect(buyer.frames).toEqual([
      { op: "outcome", ref: 1, code: "reserved", orderId, units: 1 },
      { op: "status", code: "confirmed", orderId, units: 1 },
    ]);
    expect(watcher.frames).toEqual(buyer.frames.slice(1));
  });

  it("is not lost on an answer that is held only afterwards, with nobody else listening", async () => {
    await until(() => mounted.sockets() === 0, "every socket to be gone");
    const wire = await Wire.open(port);
    // so short that looking again a second later would be too late
    await overtake("held", () => void wire.write(request("POST", `/buy/${ticketFor("held", SALE)}`, ["Prefer: wait=1"])));
    proxy.set({ kind: "pass" });
    const answer = await wire.answer();
    expect([answer?.status, JSON.parse(answer?.body ?? "{}")]).toMatchObject([201, { code: "confirmed" }]);
    wire.destroy();
  });
});
