import { afterAll, beforeAll, expect, it } from "vitest";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire } from "../../test/harness/wire.ts";

let edge: EdgeWorld;
beforeAll(async () => {
  edge = await startEdgeWorld();
});
afterAll(() => edge.close());

const KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const ASKED = ["Upgrade: websocket", "Connection: Upgrade"];
const VERSION = "Sec-WebSocket-Version: 13";
const path = `/live?ticket=${ticketFor("win")}`;

it("is taken as RFC 6455 writes it, in any case and in lists", async () => {
  for (const headers of [
    [...ASKED, KEY, VERSION],
    ["upgrade: WebSocket", "CONNECTION: keep-alive, Upgrade", KEY, VERSION],
    ["Upgrade: h2c, websocket", "Connection: upgrade", "Connection: keep-alive", KEY, VERSION],
    [...ASKED, KEY, VERSION, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"],
  ]) {
    const answer = await ask(edge.port, request("GET", path, headers));
    expect([answer?.status, answer?.headers["sec-websocket-accept"]], headers.join("|")).toEqual([101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
  }
});

it("is refused with what it misses, and the connection closes", async () => {
  const cases: [readonly string[], number, string][] = [
    [[KEY, VERSION], 426, "Upgrade, Connection: "],
    [["Connection: Upgrade", KEY, VERSION], 426, "Upgrade, Connection: "],
    [["Upgrade: websocket", KEY, VERSION], 426, "Upgrade, Connection: "],
    [["Upgrade: websocket", "Connection: keep-alive", KEY, VERSION], 426, "Upgrade, Connection: "],
    [["Upgrade: h2c", "Connection: Upgrade", KEY, VERSION], 426, "Upgrade, Connection: "],
    [["Upgrade: websocket2", "Connection: Upgrade", KEY, VERSION], 426, "Upgrade, Connection: "],
    [[...ASKED, KEY], 426, "Sec-WebSocket-Version: "],
    [[...ASKED, KEY, "Sec-WebSocket-Version: 8"], 426, "Sec-WebSocket-Version: "],
    [[...ASKED, KEY, "Sec-WebSocket-Version: 013"], 426, "Sec-WebSocket-Version: "],
    [[...ASKED, KEY, VERSION, VERSION], 426, "Sec-WebSocket-Version: "],
    [[...ASKED, VERSION], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, "Sec-WebSocket-Key: "], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, "Sec-WebSocket-Key: short"], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=%"], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, "Sec-WebSocket-Key: aaaaaaaaaaaaaaaaaaaaaaaa"], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="], 400, "Sec-WebSocket-Key: "],
    [[...ASKED, VERSION, KEY, KEY], 400, "Sec-WebSocket-Key: "],
    [[], 426, "Upgrade, Connection: "],
    [[...ASKED, KEY, VERSION, "Content-Length: 0"], 400, "no body"],
    [[...ASKED, KEY, VERSION, "Transfer-Encoding: chunked"], 400, "no body"],
    [[...ASKED, KEY, VERSION, "Host: other"], 400, "Host: "],
  ];
  for (const [headers, status, detail] of cases) {
    const wire = await Wire.open(edge.port);
    const answer = await wire.write(request("GET", path, headers)).answer();
    expect([answer?.status, answer?.headers["content-type"]], headers.join("|")).toEqual([status, "application/problem+json"]);
    expect(answer?.body, headers.join("|")).toContain(detail);
    if (status === 426)
      expect([answer?.headers["upgrade"], answer?.headers["sec-websocket-version"], answer?.headers["connection"]]).toEqual([
        "websocket",
        "13",
        "Upgrade, close",
      ]);
    await wire.closed();
  }
  expect(edge.mounted.sockets()).toBe(0);
});

it("is a GET", async () => {
  for (const method of ["POST", "PUT", "DELETE"]) {
    const answer = await ask(edge.port, request(method, path, [...ASKED, KEY, VERSION]));
    expect([answer?.status, answer?.headers["allow"]], method).toEqual([405, "GET, OPTIONS"]);
  }
  expect((await ask(edge.port, request("HEAD", path, [...ASKED, KEY, VERSION]), true))?.status).toBe(426);
});
