import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { closeReason } from "../http/socket-route.ts";
import { ask, request, Wire } from "../../test/harness/wire.ts";

let edge: EdgeWorld;
const clients: Client[] = [];
const pid = process.pid;

class Client {
  readonly socket: WebSocket;
  readonly frames: Record<string, unknown>[] = [];
  closeCode: number | undefined;
  closeReason = "";
  refusedStatus: number | undefined;

  constructor(ticket: string) {
    this.socket = new WebSocket(`ws://127.0.0.1:${edge.port}/live?ticket=${encodeURIComponent(ticket)}`);
    this.socket.on("message", (data: Buffer) => this.frames.push(JSON.parse(data.toString()) as Record<string, unknown>));
    this.socket.on("close", (code, reason) => {
      this.closeReason = reason.toString("utf8");
      this.closeCode = code;
    });
    this.socket.on("error", () => undefined);
    this.socket.on("unexpected-response", (_, response) => {
      this.refusedStatus = response.statusCode;
      response.resume();
      this.socket.terminate();
    });
    clients.push(this);
  }

  static async open(uid: string): Promise<Client> {
    const client = new Client(ticketFor(uid));
    await expect.poll(() => client.socket.readyState, { timeout: 10_000 }).toBe(WebSocket.OPEN);
    return client;
  }

  send(frame: unknown): this {
    this.socket.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
    return this;
  }

  async received(count: number): Promise<Record<string, unknown>[]> {
    await expect.poll(() => this.frames.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(count);
    return this.frames;
  }

  async closed(): Promise<number> {
    await expect.poll(() => this.closeCode, { timeout: 10_000 }).toBeDefined();
    return this.closeCode as number;
  }
}

beforeAll(async () => {
  edge = await startEdgeWorld();
});
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.terminate();
  await expect.poll(() => edge.mounted.sockets(), { timeout: 10_000 }).toBe(0);
  const answer = await ask(edge.port, request("POST", `/buy/${ticketFor("win")}`));
  expect([answer?.status, process.pid, edge.mounted.waiting()]).toEqual([202, pid, 0]);
});
afterAll(() => edge.close());

describe("live", () => {
  it("buys, and answers each frame under its ref with the same codes as HTTP", async () => {
    const winner = await Client.open("win");
    winner.send({ op: "buy", ref: "a", units: 2, key: "k" }).send({ op: "buy", ref: 7 });
    expect(await winner.received(2)).toEqual([
      { op: "outcome", ref: "a", code: "reserved", orderId: "0-1-3-0", units: 2 },
      { op: "outcome", ref: 7, code: "reserved", orderId: "0-1-3-0", units: 1 },
    ]);
    expect(edge.service.bought.slice(-2)).toEqual([
      { uid: "win", units: 2, key: "k", address: "" },
      { uid: "win", units: 1, key: "", address: "" },
    ]);
    const often = await Client.open("often");
    expect(await often.send({ op: "buy", ref: "b" }).received(1)).toEqual([
      { op: "outcome", ref: "b", code: "rate_limited", retryAfterMs: 1_200, detail: expect.any(String) },
    ]);
    const again = await Client.open("again");
    expect(await again.send({ op: "buy", ref: "c" }).received(1)).toEqual([
      { op: "outcome", ref: "c", code: "confirmed", orderId: "0-1-5-0", units: 1, repeat: true },
    ]);
  });

  it("pushes changes of the buyer's orders, wherever they were bought, to each socket of that buyer only", async () => {
    const [one, two, other] = [await Client.open("win"), await Client.open("win"), await Client.open("other")];
    edge.service.push("win", { code: "confirmed", orderId: "0-1-3-0", units: 1 });
    const status = { op: "status", code: "confirmed", orderId: "0-1-3-0", units: 1 };
    expect([await one.received(1), await two.received(1)]).toEqual([[status], [status]]);
    expect(other.frames).toEqual([]);
    one.socket.close();
    await one.closed();
    await expect.poll(() => edge.service.watching.get("sale-1 win")?.size, { timeout: 10_000 }).toBe(1);
  });

  it("answers a purchase before it says what became of it", async () => {
    const buyer = await Client.open("hang");
    buyer.send({ op: "buy", ref: 1 });
    await expect.poll(() => edge.service.hanging.length, { timeout: 10_000 }).toBe(1);
    edge.service.push("hang", { code: "confirmed", orderId: "0-1-4-0", units: 1 });
    for (const answer of edge.service.hanging.splice(0)) answer();
    expect(await buyer.received(2)).toEqual([
      { op: "outcome", ref: 1, code: "reserved", orderId: "0-1-4-0", units: 1 },
      { op: "status", code: "confirmed", orderId: "0-1-4-0", units: 1 },
    ]);
  });

  it("refuses the upgrade without a good ticket", async () => {
    const genuine = ticketFor("win");
    const cases: [string, number][] = [
      ["", 401],
      ["nonsense", 401],
      [genuine.slice(0, -1) + (genuine.endsWith("A") ? "E" : "A"), 401],
      [ticketFor("win", "sale-1", Date.now() - 1), 401],
      ["x\r\ny", 401],
    ];
    for (const [ticket, status] of cases) {
      const client = new Client(ticket);
      await client.closed();
      expect(client.refusedStatus, ticket).toBe(status);
    }
  });

  it("explains bad frames, and closes after the third", async () => {
    const cases: (string | Buffer)[] = [
      "",
      "{",
      "null",
      "[]",
      '{"op":"buy"}',
      '{"op":"sell","ref":1}',
      '{"op":"buy","ref":1,"units":0}',
      '{"op":"buy","ref":1,"units":1.5}',
      '{"op":"buy","ref":1,"key":"a b"}',
      '{"op":"buy","ref":{}}',
      '{"op":"buy","ref":1,"uid":"x"}',
      `{"op":"buy","ref":"${"r".repeat(65)}"}`,
      Buffer.from([0xff, 0x00]),
      Buffer.from('{"op":"buy","ref":1}'),
    ];
    const before = edge.service.bought.length;
    for (const bad of cases) {
      const client = await Client.open("win");
      expect(await client.send(bad).received(1), String(bad)).toEqual([{ op: "error", code: "bad_request", detail: expect.any(String) }]);
      client.send(bad).send(bad).send(bad);
      expect(await client.closed()).toBe(1008);
      expect(client.frames.length).toBe(3);
      const { detail } = client.frames[2] as { detail: string };
      expect(client.closeReason).toBe(closeReason(`3 frames were not understood; the last: ${detail}`));
    }
    expect(edge.service.bought.length).toBe(before);
  });

  it("says in the close what was wrong with the last of them, as far as 123 bytes go", async () => {
    const last: [string | Buffer, string][] = [
      ["x".repeat(1_025), "A frame has at most 1024 bytes."],
      [Buffer.from([1]), "Frames are text."],
      ["{", "The frame is not JSON."],
      ['{"op":"sell","ref":1}', "op: "],
      ['{"op":"buy","ref":true}', "ref: "],
      [`{"op":"buy","ref":1,"${"限".repeat(60)}":1}`, "限…"],
    ];
    for (const [bad, words] of last) {
      const client = await Client.open("win");
      client.send("{").send("[]").send(bad);
      expect(await client.closed()).toBe(1008);
      expect(client.closeReason).toContain(words);
      expect(Buffer.byteLength(client.closeReason)).toBeLessThanOrEqual(123);
    }
    // too many buys at once are no bad frames: each is answered under its ref
    const eager = await Client.open("hang");
    for (let ref = 0; ref < 20; ref++) eager.send({ op: "buy", ref });
    expect((await eager.received(4)).map((frame) => frame["code"])).toEqual(Array(4).fill("rate_limited"));
    expect(eager.socket.readyState).toBe(WebSocket.OPEN);
    edge.service.hanging.length = 0;
  });

  it("explains a frame above the bound, and is cut off far above it", async () => {
    const client = await Client.open("win");
    expect(await client.send("x".repeat(1_025)).received(1)).toEqual([{ op: "error", code: "too_large", detail: expect.any(String) }]);
    client.send("x".repeat(100_000));
    expect([1006, 1009]).toContain(await client.closed());
  });

  it("survives frames that break the protocol below", async () => {
    const handshake = `GET /live?ticket=${ticketFor("win")} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
    for (const bytes of [
      "\x81\x05hello",
      "\xff\xff\xff\xff",
      "\x83\x80\0\0\0\0",
      "\x89\xfe\xff\xff",
      "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
      "\x80\x80\0\0\0\0",
    ]) {
      const wire = await Wire.open(edge.port);
      expect((await wire.write(handshake).answer())?.status).toBe(101);
      wire.write(bytes);
      expect((await ask(edge.port, request("GET", "/healthz")))?.status).toBe(200);
      wire.destroy();
    }
    for (const lines of [
      "Sec-WebSocket-Key: short",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nTransfer-Encoding: chunked",
    ]) {
      const answer = await ask(
        edge.port,
        `GET /live?ticket=${ticketFor("win")} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${lines}\r\n\r\n`,
      );
      expect(answer?.status, lines).toBeGreaterThanOrEqual(400);
    }
  });

  it("closes only the socket whose handler breaks", async () => {
    const other = await Client.open("other");
    const client = await Client.open("throw");
    client.send({ op: "buy", ref: 1 });
    expect(await client.closed()).toBe(1011);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
    expect(edge.faults.map(String)).toContain("Error: a broken service");
  });

  it("drops an answer whose socket is gone", async () => {
    const client = await Client.open("hang");
    client.send({ op: "buy", ref: 1 });
    await expect.poll(() => edge.service.hanging.length, { timeout: 10_000 }).toBe(1);
    client.socket.terminate();
    await expect.poll(() => edge.mounted.sockets(), { timeout: 10_000 }).toBe(0);
    for (const answer of edge.service.hanging.splice(0)) answer();
  });

  it("bounds undecided buys of one socket and sockets of one buyer", async () => {
    const client = await Client.open("hang");
    for (let ref = 0; ref < 17; ref++) client.send({ op: "buy", ref });
    expect(await client.received(1)).toMatchObject([{ ref: 16, code: "rate_limited" }]);
    for (const answer of edge.service.hanging.splice(0)) answer();
    expect(await client.received(17)).toHaveLength(17);
    for (let count = 1; count < 8; count++) await Client.open("hang");
    const ninth = new Client(ticketFor("hang"));
    await ninth.closed();
    expect(ninth.refusedStatus).toBe(429);
    clients[0]?.socket.terminate();
    await expect.poll(() => edge.mounted.sockets(), { timeout: 10_000 }).toBe(7);
    await Client.open("hang");
  });

  it("closes a reader that does not read instead of dropping frames unseen", async () => {
    const wire = await Wire.open(edge.port);
    wire.write(
      `GET /live?ticket=${ticketFor("slow")} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    await wire.answer();
    wire.pause();
    const detail = { code: "rejected", orderId: "0-1-8-0", units: 1, reason: "x".repeat(60_000) } as const;
    await expect
      .poll(
        () => {
          edge.service.push("slow", detail);
          return edge.mounted.sockets();
        },
        { timeout: 30_000, interval: 1 },
      )
      .toBe(0);
    wire.destroy();
  });
});
