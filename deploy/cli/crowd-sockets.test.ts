import { createHistogram } from "node:perf_hooks";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { WebSocketServer } from "ws";
import { Ledger } from "./crowd-ledger.ts";
import { openSockets } from "./crowd-sockets.ts";

const ORDER = "0-1-1-0";
let server: WebSocketServer;
let gateway: string;
let purchases = 0;
/** what the server says to each purchase */
let script: readonly object[] = [];
beforeAll(async () => {
  server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => {
    socket.on("message", (data: Buffer) => {
      purchases += 1;
      const { ref } = JSON.parse(data.toString()) as { ref: unknown };
      for (const frame of script) socket.send(JSON.stringify({ ref, ...frame }));
    });
  });
  await new Promise((resolve) => void server.once("listening", resolve));
  gateway = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  vi.restoreAllMocks();
  server.close();
});

const outcome = { op: "outcome", code: "reserved", orderId: ORDER, units: 1 };
const status = { op: "status", code: "confirmed", orderId: ORDER, units: 1 };

it.each([
  ["the outcome first", [outcome, status]],
  ["the push first", [status, outcome]],
])("a buyer is done when the order is stored: %s", async (_name, frames) => {
  script = frames;
  purchases = 0;
  // nobody clicks twice
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const ledger = new Ledger(1);
  const confirmLatency = createHistogram();
  const sockets = await openSockets({
    gateway,
    first: 0,
    count: 1,
    ticketOf: () => "ticket",
    ledger,
    confirmLatency,
    stop: new AbortController().signal,
    patienceMs: 60_000,
  });
  await sockets.rush();
  expect([confirmLatency.count, ledger.counts.reserved, ledger.counts.errors]).toEqual([1, 1, 0]);
  // nor asks again for a push that has come
  expect(purchases).toBe(1);
});
