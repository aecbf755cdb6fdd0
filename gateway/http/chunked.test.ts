import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire, type WireAnswer } from "../../test/harness/wire.ts";

const execute = promisify(execFile);
const hasPython = await execute("python3", ["--version"]).then(
  () => true,
  () => false,
);
if (!hasPython) console.warn("skipped: no python3, so its HTTP client cannot be tried");

let edge: EdgeWorld;
const buy = `/buy/${ticketFor("soldOut")}`;
const crowd = `/buy/${ticketFor("crowd")}`;
const smuggled = request("POST", `/buy/${ticketFor("smuggled")}`);

beforeAll(async () => {
  edge = await startEdgeWorld({ bodyDeadlineMs: 150 });
});
afterAll(() => edge.close());
afterEach(async () => {
  edge.service.bought.length = 0;
  expect([(await ask(edge.port, request("POST", `/buy/${ticketFor("win")}`)))?.status, edge.mounted.waiting()]).toEqual([202, 0]);
  edge.service.bought.length = 0;
});

const chunked = (...parts: readonly string[]): string =>
  `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("")}0\r\n\r\n`;
const head = (path: string, method = "POST", coding = "chunked"): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ${coding}\r\n\r\n`;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const code = (answer: WireAnswer | undefined): unknown => (JSON.parse(answer?.body ?? "null") as { code?: unknown } | null)?.code;
const units = (): readonly number[] => edge.service.bought.map((purchase) => purchase.units);
const buyers = (): readonly string[] => edge.service.bought.map(({ uid }) => uid);

describe("a body in chunks", () => {
  it("is read whole, however it is cut, and the answer closes the connection", async () => {
    const bodies: [string, number][] = [
      [chunked('{"units":3}'), 3],
      [chunked('{"uni', 'ts":', "3}"), 3],
      [chunked(...'{"units":3}'.split("")), 3],
      [chunked(), 1],
      [chunked('{"units":2}'.padEnd(1_024)), 2],
    ];
    for (const [body, wanted] of bodies) {
      for (const coding of ["chunked", "Chunked", "CHUNKED"]) {
        edge.service.bought.length = 0;
        const answer = await ask(edge.port, head(buy, "POST", coding) + body);
        expect([answer?.status, answer?.headers["connection"], units()], coding).toEqual([409, "close", [wanted]]);
      }
      edge.service.bought.length = 0;
      const wire = await Wire.open(edge.port);
      wire.write(head(buy));
      for (let at = 0; at < body.length; at += Math.ceil(body.length / 40)) {
        await turn();
        wire.write(body.slice(at, at + Math.ceil(body.length / 40)));
      }
      expect([(await wire.answer())?.status, units()]).toEqual([409, [wanted]]);
      await wire.closed();
    }
  });

  it("is answered by the same codes as any other: refused early, reserved, held, malformed", async () => {
    expect(code(await ask(edge.port, head(crowd) + chunked('{"units":1}')))).toBe("sold_out");
    expect((await ask(edge.port, head(`/buy/${ticketFor("win")}`) + chunked('{"units":2}')))?.status).toBe(202);
    expect(code(await ask(edge.port, head(buy) + chunked("{")))).toBe("bad_request");
    expect(code(await ask(edge.port, head(`/buy/${ticketFor("throw")}`) + chunked("{}")))).toBe("try_again");
  });

  it("is bounded in bytes and in time, as any other", async () => {
    const tooLarge = [
      chunked(" ".repeat(1_025)),
      chunked(...Array.from({ length: 1_025 }, () => " ")),
      `ffffffff\r\n${" ".repeat(1_100)}`,
      `${chunked(" ".repeat(1_024)).slice(0, -5)}1\r\n `,
    ];
    for (const body of tooLarge) {
      const wire = await Wire.open(edge.port);
      const answer = await wire.write(head(buy) + body).answer();
      expect([answer?.status, code(answer), answer?.headers["connection"]], body.slice(0, 20)).toEqual([413, "too_large", "close"]);
      await wire.closed();
    }
    for (const body of ["", "b\r\n", 'b\r\n{"uni', chunked('{"units":1}').slice(0, -5)]) {
      const wire = await Wire.open(edge.port);
      const answer = await wire.write(head(buy) + body).answer();
      expect([answer?.status, code(answer)], JSON.stringify(body)).toEqual([400, "bad_request"]);
      await wire.closed();
    }
    expect(units()).toEqual([]);
  });

  it("is not taken where no body is, and closes there, too", async () => {
    for (const [method, path, status] of [
      ["GET", buy, 400],
      ["GET", "/sales/sale-1", 400],
      ["HEAD", "/healthz", 400],
      ["PUT", buy, 405],
      ["POST", "/nowhere", 404],
      ["GET", "/live", 400],
    ] as const) {
      const wire = await Wire.open(edge.port);
      const answer = await wire.write(head(path, method) + chunked("{}")).answer(method === "HEAD");
      expect([answer?.status, answer?.headers["connection"]], `${method} ${path}`).toEqual([status, "close"]);
      await wire.closed();
      expect(wire.left).toBe("");
    }
  });
});

describe("what follows a body in chunks", () => {
  /** What a strict reader and uWebSockets.js may read differently, or that ends nowhere. */
  const bodies: [string, string][] = [
    ["a whole one", chunked("{}")],
    ["an empty one", chunked()],
    ["an extension", `2;a=b\r\n{}\r\n0\r\n\r\n`],
    ["an extension that reads as a digit", `2;\r\n{}\r\n0\r\n\r\n`],
    ["an extension of the last chunk", `2\r\n{}\r\n0;a\r\n\r\n`],
    ["a trailer", `2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n`],
    ["a trailer that is a request", `2\r\n{}\r\n0\r\n${smuggled}\r\n`],
    ["a size of g", `g\r\n{}\r\n0\r\n\r\n`],
    ["a size with a sign", `+2\r\n{}\r\n0\r\n\r\n`],
    ["a negative size", `-2\r\n{}\r\n0\r\n\r\n`],
    ["a size with 0x", `0x2\r\n{}\r\n0\r\n\r\n`],
    ["a size with a space", `2 \r\n{}\r\n0\r\n\r\n`],
    ["a size behind a space", ` 2\r\n{}\r\n0\r\n\r\n`],
    ["a size beyond all numbers", `ffffffffffffffffff\r\n{}\r\n0\r\n\r\n`],
    ["no size", `\r\n{}\r\n0\r\n\r\n`],
    ["bare line feeds", `2\n{}\n0\n\n`],
    ["a chunk that is longer than it says", `1\r\n{}\r\n0\r\n\r\n`],
    ["a chunk that is shorter than it says", `5\r\n{}\r\n0\r\n\r\n`],
    ["a last chunk without its end", `2\r\n{}\r\n0\r\n`],
    ["another end of a chunk", `2\r\n{}XX0\r\n\r\n`],
  ];

  for (const [name, body] of bodies) {
    it(`is never run: ${name}`, async () => {
      const places = [
        ["POST", buy],
        ["POST", crowd],
        ["GET", "/sales/sale-1"],
        ["PUT", buy],
        ["POST", "/nowhere"],
        ["GET", "/live"],
      ] as const;
      await Promise.all(
        places.map(async ([method, path]) => {
          const together = await Wire.open(edge.port);
          together.write(head(path, method) + body + smuggled + smuggled);
          const apart = await Wire.open(edge.port);
          apart.write(head(path, method) + body);
          await turn();
          apart.write(smuggled + smuggled);
          await Promise.all([together.closed(), apart.closed()]);
          for (const { left } of [together, apart]) expect(left.split("HTTP/1.1 ").length, left).toBeLessThanOrEqual(2);
        }),
      );
      expect(buyers()).not.toContain("smuggled");
    });
  }

  it("has its request to itself: one that ends in doubt buys nothing either", async () => {
    for (const body of [`2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n`, `${chunked("{}")}${smuggled}`]) {
      const wire = await Wire.open(edge.port);
      wire.write(head(buy) + body);
      await wire.closed();
      expect(buyers()).toEqual([]);
    }
  });
});

describe.skipIf(!hasPython)("Python's client, which sends a body of unknown length in chunks", () => {
  const PROGRAM = `
import http.client, sys
port, paths = int(sys.argv[1]), sys.argv[2:]
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
for path in paths:
    connection.request("POST", path, body=iter([b'{"uni', b'ts":2}']), headers={"Content-Type": "application/json"})
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
`;

  it("buys, and buys again", async () => {
    const paths = ["win", "win", "soldOut"].map((uid) => `/buy/${ticketFor(uid)}`);
    const { stdout } = await execute("python3", ["-c", PROGRAM, String(edge.port), ...paths]);
    expect(stdout.trim().split("\n")).toEqual([
      '202 {"code":"reserved","orderId":"0-1-3-0","units":2}',
      '202 {"code":"reserved","orderId":"0-1-3-0","units":2}',
      expect.stringContaining('409 {"code":"sold_out"'),
    ]);
    expect(units()).toEqual([2, 2, 2]);
  });
});
