import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { Crowd } from "./crowd.ts";
import { signingKeys } from "./tickets.ts";

const HELD_MS = 40;
const BUYERS = 20;

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

it("counts latency from when a request was to be sent, not from when a connection was free for it", async () => {
  let answers = 0;
  server = createServer((_request, response) => {
    answers += 1;
    setTimeout(() => response.end('{"code":"sold_out"}'), HELD_MS);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const crowd = new Crowd({
    gateway: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keys: signingKeys("k:a-key-that-is-long-enough"),
    sales: ["phone"],
    buyers: BUYERS,
    sockets: 0,
    ratePerSecond: 1_000,
    connections: 1,
    emptiedAtMs: () => undefined,
    stop: new AbortController().signal,
  });
  await crowd.rush(() => undefined);
  expect(crowd.ledger.answered).toBe(BUYERS);
  // all were meant within 30 ms or so; one connection takes them one after the other, and a busy machine only longer
  expect(crowd.ledger.latency.max / 1_000).toBeGreaterThan((answers * HELD_MS) / 2);
  expect(crowd.lag.max / 1_000).toBeGreaterThan((answers * HELD_MS) / 2 - HELD_MS);
});
