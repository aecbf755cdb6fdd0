import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire, type WireAnswer } from "../../test/harness/wire.ts";

let edge: EdgeWorld;
beforeAll(async () => {
  edge = await startEdgeWorld();
});
afterAll(() => edge.close());
beforeEach(() => void (edge.service.bought.length = 0));

const code = (answer: WireAnswer | undefined): unknown => (JSON.parse(answer?.body ?? "null") as { code?: unknown } | null)?.code;
/** Every character as an escape. */
const escaped = (text: string, inCase = (digits: string): string => digits): string =>
  [...Buffer.from(text)].map((byte) => `%${inCase(byte.toString(16).padStart(2, "0"))}`).join("");
const upper = (digits: string): string => digits.toUpperCase();

describe("escapes in an address", () => {
  it("mean the characters that they spell: tickets, sale ids, order ids, in a path and in a query", async () => {
    const ticket = ticketFor("win");
    for (const spelt of [escaped(ticket), escaped(ticket, upper), ticket.replace("w", "%77"), `%31${ticket.slice(1)}`]) {
      const answer = await ask(edge.port, request("POST", `/buy/${spelt}`));
      expect([answer?.status, answer?.headers["location"]]).toEqual([202, `/buy/${ticket}?order=0-1-3-0`]);
      expect((await ask(edge.port, request("GET", `/buy/${spelt}?order=${escaped("0-1-3-0")}`)))?.status).toBe(200);
      expect((await ask(edge.port, request("GET", `/live?ticket=${spelt}`, UPGRADE)))?.status).toBe(101);
    }
    expect(code(await ask(edge.port, request("POST", `/buy/${escaped(ticketFor("crowd"))}`)))).toBe("sold_out");
    expect((await ask(edge.port, request("GET", `/sales/${escaped("sale-1")}`)))?.status).toBe(200);
  });

  it("are decoded once, and nothing that they spell leaves its place", async () => {
    const ticket = ticketFor("win");
    const cases: [string, number, string][] = [
      [request("POST", `/buy/${escaped(escaped(ticket))}`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticket.replace("w", "%2577")}`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticket}%00`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticket}%2F..`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticket}%0D%0AX-Split:%20yes`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticket}%3Forder=1`), 401, "ticket_invalid"],
      [request("POST", `/buy/%C3%A4${ticket}`), 401, "ticket_invalid"],
      [request("GET", `/sales/sale-1%2F`), 404, "sale_unknown"],
      [request("GET", `/sales/%00`), 404, "sale_unknown"],
      [request("GET", `/live?ticket=${ticket}%00`, UPGRADE), 401, "ticket_invalid"],
      [request("GET", `/live?ticket=%zz`, UPGRADE), 401, "ticket_invalid"],
      [request("GET", `/live?ticket=${ticket}%`, UPGRADE), 401, "ticket_invalid"],
    ];
    for (const [text, status, expected] of cases) {
      const answer = await ask(edge.port, text);
      expect([answer?.status, code(answer), answer?.headers["x-split"]], text).toEqual([status, expected, undefined]);
    }
    expect(edge.service.bought).toEqual([]);
  });

  it("that are none are said to be", async () => {
    for (const bad of ["%zz", "%", "%4", "%g0", "%ff", "%C3", "%u0041", "%%41"]) {
      for (const [method, path] of [
        ["POST", `/buy/${ticketFor("win")}${bad}`],
        ["POST", `/buy/${bad}_${ticketFor("crowd")}`],
        ["GET", `/buy/${bad}`],
        ["GET", `/sales/${bad}`],
      ] as const) {
        const answer = await ask(edge.port, request(method, path));
        expect([answer?.status, code(answer)], `${method} ${path}`).toEqual([400, "bad_request"]);
        expect(answer?.body).toContain("The address: ");
      }
    }
  });
});

const UPGRADE = [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
] as const;

/** Everything that is answered on a new connection, until it closes or some other client was answered after it. */
const seen = async (text: string): Promise<string> => {
  const wire = await Wire.open(edge.port);
  wire.write(text);
  for (let round = 0; round < 3; round++) await ask(edge.port, request("GET", "/healthz"));
  const { left } = wire;
  wire.destroy();
  return left.split("\r\n")[0] as string;
};

describe("Host (RFC 9112 3.2)", () => {
  const get = (...hosts: readonly string[]): string => `GET /healthz HTTP/1.1\r\n${hosts.map((host) => `Host: ${host}\r\n`).join("")}\r\n`;

  it("is one, of a name or an address and perhaps a port", async () => {
    const good = ["a", "shop.example", "shop.example:8080", "127.0.0.1:1", "[::1]", "[::1]:8080", "xn--4ca.example", "a_b", ""];
    for (const host of good) expect((await ask(edge.port, get(host)))?.status, host).toBe(200);
    const bad = ["a b", "a/b", "a@b", "http://a", "a:b", "[::1", "a,b c", "a:1:2", "a#", "a\\b", "a\xe4b"];
    for (const hosts of [["a", "a"], ["a", "b"], ["", "a"], ["a", ""], ...bad.map((host) => [host])]) {
      for (const path of ["/healthz", `/buy/${ticketFor("crowd")}`, "/nowhere", "/live"]) {
        const method = path.startsWith("/buy") ? "POST" : "GET";
        const answer = await ask(edge.port, get(...hosts).replace("GET /healthz", `${method} ${path}`));
        expect([answer?.status, code(answer), answer?.headers["connection"]], hosts.join("|")).toEqual([400, "bad_request", "close"]);
        expect(answer?.body).toContain("Host: ");
      }
    }
  });

  it("is missed by the parser itself", async () => {
    expect(await seen("GET /healthz HTTP/1.1\r\nAccept: */*\r\n\r\n")).toBe("HTTP/1.1 400 Bad Request");
  });
});

/**
 * What uWebSockets.js's parser does before anything of ours is asked; README.md, "and what it cannot". Another build may do more of
 * what RFC 9112 wants, but none runs such a request as if it were another.
 */
describe("request lines that the parser takes for none", () => {
  const NOT_SUPPORTED = "HTTP/1.1 505 HTTP Version Not Supported";
  const isOld = Number(process.versions.node.split(".")[0]) < 22;
  it.each([
    ["the absolute form", "GET http://shop.example/healthz HTTP/1.1\r\nHost: shop.example\r\n\r\n", NOT_SUPPORTED],
    ["the authority form", "CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example\r\n\r\n", NOT_SUPPORTED],
    ["the asterisk form", "OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n", NOT_SUPPORTED],
    ["HTTP/1.0", "GET /healthz HTTP/1.0\r\nHost: shop.example\r\n\r\n", NOT_SUPPORTED],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NOT_SUPPORTED],
    ["an empty line before the request", "\r\nGET /healthz HTTP/1.1\r\nHost: shop.example\r\n\r\n", NOT_SUPPORTED],
    ["a request without any header", "GET /healthz HTTP/1.1\r\n\r\n", ""],
  ])("%s", async (_name, text, answer) => {
    const line = await seen(text);
    if (isOld) expect(line).toBe(answer);
    else expect(["", "HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request", NOT_SUPPORTED]).toContain(line);
  });
});
