import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire } from "../../test/harness/wire.ts";

const BODY_DEADLINE_MS = 300;
let edge: EdgeWorld;
let buy: string;
/** of a buyer who is refused before anything is made for the request */
let crowd: string;
const pid = process.pid;

beforeAll(async () => {
  edge = await startEdgeWorld({ bodyDeadlineMs: BODY_DEADLINE_MS });
  buy = `/buy/${ticketFor("soldOut")}`;
  crowd = `/buy/${ticketFor("crowd")}`;
});
afterAll(() => edge.close());

/** Whatever was sent: the same process answers the next client well, and nothing is kept waiting. */
afterEach(async () => {
  const answer = await ask(edge.port, request("POST", `/buy/${ticketFor("win")}`));
  expect([answer?.status, process.pid, edge.mounted.waiting()]).toEqual([202, pid, 0]);
});

const code = (body: string | undefined): unknown => (JSON.parse(body ?? "null") as { code?: unknown } | null)?.code;

describe("framing that two readers could read differently", () => {
  const smuggled = request("POST", `/buy/${ticketFor("smuggled")}`);
  const headers: [string, string][] = [
    ["two Content-Lengths", `Content-Length: 0\r\nContent-Length: ${smuggled.length}`],
    ["two Content-Lengths the other way", `Content-Length: ${smuggled.length}\r\nContent-Length: 0`],
    ["two equal Content-Lengths", `Content-Length: ${smuggled.length}\r\nContent-Length: ${smuggled.length}`],
    ["an empty Content-Length before a real one", `Content-Length:\r\nContent-Length: ${smuggled.length}`],
    ["an empty Content-Length", "Content-Length: "],
    ["a list of Content-Lengths", "Content-Length: 5, 5"],
    ["a Content-Length that is no number", "Content-Length: 5x"],
    ["a negative Content-Length", "Content-Length: -5"],
    ["a signed Content-Length", "Content-Length: +5"],
    ["a hexadecimal Content-Length", "Content-Length: 0x10"],
    ["a Content-Length beyond all numbers", "Content-Length: 99999999999999999999"],
    ["Transfer-Encoding chunked without a chunk", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
    ["Transfer-Encoding chunked in a list", "Transfer-Encoding: chunked, chunked"],
    ["Transfer-Encoding chunked behind another", "Transfer-Encoding: gzip, chunked"],
    ["Transfer-Encoding chunked with a parameter", "Transfer-Encoding: chunked;q=1"],
    ["both Content-Length and Transfer-Encoding", "Content-Length: 0\r\nTransfer-Encoding: chunked"],
    ["Transfer-Encoding xchunked", "Transfer-Encoding: xchunked"],
    ["Transfer-Encoding identity", "Transfer-Encoding: identity"],
    ["an empty Transfer-Encoding before a real one", "Transfer-Encoding:\r\nTransfer-Encoding: chunked"],
    ["both Transfer-Encoding and Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 5"],
  ];

  for (const [name, lines] of headers) {
    it(`never runs what follows ${name}`, async () => {
      for (const method of ["POST", "GET", "HEAD", "PUT"]) {
        for (const path of [buy, crowd, "/sales/sale-1", "/healthz", "/live", "/nowhere"]) {
          edge.service.bought.length = 0;
          const wire = await Wire.open(edge.port);
          wire.write(`${method} ${path} HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n${smuggled}${smuggled}`);
          await wire.closed();
          expect(edge.service.bought, `${method} ${path}`).toEqual([]);
          expect(wire.left, `${method} ${path}`).not.toContain("HTTP/1.1 2");
          wire.destroy();
        }
      }
    });
  }

  it("is refused with 400 and a closed connection when nothing follows at once", async () => {
    for (const lines of ["Content-Length: 0\r\nContent-Length: 5", "Transfer-Encoding: xchunked", "Content-Length: "]) {
      const wire = await Wire.open(edge.port);
      const answer = await wire.write(`POST ${buy} HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n`).answer();
      expect([answer?.status, answer?.headers["connection"], code(answer?.body)]).toEqual([400, "close", "bad_request"]);
      await wire.closed();
    }
  });
});

describe("requests that are too large or too slow", () => {
  it("answers 431 to a header block above the bound, 413 to a body above it", async () => {
    for (const path of [buy, crowd]) {
      const long = await ask(edge.port, request("POST", path, [`X-Long: ${"a".repeat(9_000)}`]));
      expect([long?.status, code(long?.body)]).toEqual([431, "too_large"]);
      const many = await ask(
        edge.port,
        request(
          "POST",
          path,
          Array.from({ length: 80 }, (_, place) => `X-${place}: a`),
        ),
      );
      expect([many?.status, code(many?.body)]).toEqual([431, "too_large"]);
    }
    const wire = await Wire.open(edge.port);
    const body = await wire.write(request("POST", buy, [], " ".repeat(1_025))).answer();
    expect([body?.status, code(body?.body), body?.headers["connection"]]).toEqual([413, "too_large", "close"]);
    await wire.closed();
  });

  it("answers 413 from the announcement, before the body is sent", async () => {
    const answer = await ask(edge.port, `POST ${buy} HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999\r\n\r\n`);
    expect(answer?.status).toBe(413);
  });

  it("takes a body of exactly the bound, in any pieces", async () => {
    const wire = await Wire.open(edge.port);
    const text = '{"units":2}'.padEnd(1_024);
    const head = `POST ${buy} HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n`;
    edge.service.bought.length = 0;
    wire.write(head + text.slice(0, 4));
    await new Promise((resolve) => setImmediate(resolve));
    wire.write(text.slice(4, 100));
    await new Promise((resolve) => setImmediate(resolve));
    expect((await wire.write(text.slice(100)).answer())?.status).toBe(409);
    expect(edge.service.bought.map(({ units }) => units)).toEqual([2]);
    wire.destroy();
  });

  it("gives up a body that does not arrive", async () => {
    const wire = await Wire.open(edge.port);
    const answer = await wire.write(`POST ${buy} HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{"un`).answer();
    expect([answer?.status, code(answer?.body)]).toEqual([400, "bad_request"]);
    await wire.closed();
  });

  it("closes more headers than the parser takes, and half a header block that grows for ever", async () => {
    const many = await Wire.open(edge.port);
    many.write(
      request(
        "POST",
        buy,
        Array.from({ length: 150 }, (_, place) => `X-${place}: a`),
      ),
    );
    const endless = await Wire.open(edge.port);
    endless.write(`POST ${buy} HTTP/1.1\r\nHost: a\r\nX-Endless: ${"a".repeat(700_000)}`);
    await endless.closed();
    expect(endless.left).toMatch(/^HTTP\/1\.1 431 /);
    await many.closed();
    expect(many.left).toBe("");
  });
});

describe("malformed requests", () => {
  it("answers or closes garbage, missing hosts, other versions, odd lines", async () => {
    const texts = [
      "\x16\x03\x01\x02\x00\x01\x00garbage\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      "GET /healthz HTTP/1.1\nHost: a\n\n",
      "GET http://evil/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
      "\r\n\r\n\r\n",
      `POST ${buy} HTTP/1.1\r\nHost : a\r\n\r\n`,
      `POST ${buy} HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n`,
      "\0".repeat(1_000),
    ];
    for (const text of texts) {
      const wire = await Wire.open(edge.port);
      wire.write(text);
      const good = await ask(edge.port, request("GET", "/healthz"));
      expect(good?.status).toBe(200);
      expect(wire.left).not.toContain("HTTP/1.1 2");
      wire.destroy();
    }
  });

  it("refuses tickets, ids, keys and bodies that are none, each by its code", async () => {
    const cases: [string, number, string][] = [
      [request("POST", "/buy/nonsense"), 401, "ticket_invalid"],
      [request("POST", `/buy/${"A".repeat(5_000)}`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticketFor("win").slice(0, -1)}%0d%0aX-Split:%20yes`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticketFor("win").slice(0, -2)}\xff\xfe`), 401, "ticket_invalid"],
      [request("POST", `/buy/${ticketFor("win", "sale-1", Date.now() - 1)}`), 401, "ticket_expired"],
      [request("POST", `/buy/${ticketFor("win", "other")}`), 404, "sale_unknown"],
      [request("GET", `/buy/${ticketFor("win", "other")}`), 404, "sale_unknown"],
      [request("GET", "/buy/nonsense"), 401, "ticket_invalid"],
      [request("GET", "/sales/nonsense"), 404, "sale_unknown"],
      [request("GET", "/sales/..%2f..%2fetc"), 404, "sale_unknown"],
      [request("GET", "/sales/__proto__"), 404, "sale_unknown"],
      [request("GET", "/buy/"), 404, "not_found"],
      [request("GET", "/nowhere?x=%zz"), 404, "not_found"],
      [request("POST", buy, ["Idempotency-Key: a b"]), 400, "bad_request"],
      [request("POST", buy, ["Idempotency-Key: "]), 400, "bad_request"],
      [request("POST", buy, ["Idempotency-Key: a", "Idempotency-Key: b"]), 400, "bad_request"],
      [request("POST", buy, [`Idempotency-Key: ${"k".repeat(65)}`]), 400, "bad_request"],
      [request("POST", buy, [`Idempotency-Key: "${"k".repeat(65)}"`]), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: ""']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: a"']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a""b"']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a\\"b"']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a\\\\b"']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: " a "']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a";v=1']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a", "b"']), 400, "bad_request"],
      [request("POST", buy, ['Idempotency-Key: "a"', 'Idempotency-Key: "a"']), 400, "bad_request"],
      [request("POST", buy, ["Idempotency-Key: 'a'"]), 400, "bad_request"],
      [request("POST", buy, ["Idempotency-Key: \xe4"]), 400, "bad_request"],
      [request("POST", buy, ["Idempotency-Key: :YQ==:"]), 400, "bad_request"],
      [request("GET", buy, ['Idempotency-Key: ""']), 400, "bad_request"],
      [request("POST", buy, [], "{"), 400, "bad_request"],
      [request("POST", buy, [], "[]"), 400, "bad_request"],
      [request("POST", buy, [], "null"), 400, "bad_request"],
      [request("POST", buy, [], "\xff\xfe"), 400, "bad_request"],
      [request("POST", buy, [], '{"units":0}'), 400, "bad_request"],
      [request("POST", buy, [], '{"units":1.5}'), 400, "bad_request"],
      [request("POST", buy, [], '{"units":"1"}'), 400, "bad_request"],
      [request("POST", buy, [], '{"units":1e99}'), 400, "bad_request"],
      [request("POST", buy, [], '{"units":1,"uid":"somebody"}'), 400, "bad_request"],
      [request("GET", buy, [], "{}"), 400, "bad_request"],
      [request("POST", crowd), 409, "sold_out"],
      [request("POST", crowd, ["Content-Length: 0"]), 409, "sold_out"],
      [request("POST", crowd, ["Idempotency-Key: a b"]), 400, "bad_request"],
      [request("POST", crowd, [], "{"), 400, "bad_request"],
      [request("DELETE", buy), 405, "bad_request"],
      [request("PUT", buy, [], "{}"), 405, "bad_request"],
      [request("POST", "/sales/sale-1"), 405, "bad_request"],
      [request("BREW", "/healthz"), 405, "bad_request"],
      [request("GET", "/live"), 426, "bad_request"],
    ];
    for (const [text, status, expected] of cases) {
      const answer = await ask(edge.port, text);
      expect([answer?.status, code(answer?.body)], text).toEqual([status, expected]);
      expect(answer?.headers["content-type"]).toBe("application/problem+json");
      expect(answer?.headers["x-split"]).toBeUndefined();
      expect(JSON.parse(answer?.body ?? "")).toMatchObject({ status, title: expect.any(String), detail: expect.any(String) });
    }
  });

  it("answers 500 when a handler throws, before and after its body", async () => {
    edge.faults.length = 0;
    for (const body of ["", '{"units":1}']) {
      const answer = await ask(edge.port, request("POST", `/buy/${ticketFor("throw")}`, [], body));
      expect([answer?.status, code(answer?.body)]).toEqual([500, "try_again"]);
    }
    const early = await ask(edge.port, request("POST", `/buy/${ticketFor("throwEarly")}`));
    expect([early?.status, code(early?.body)]).toEqual([500, "try_again"]);
    expect(edge.faults.map(String)).toEqual(Array(3).fill("Error: a broken service"));
  });

  it("sends no body for HEAD, and no byte that belongs to the next answer", async () => {
    const wire = await Wire.open(edge.port);
    for (const path of ["/sales/sale-1", "/healthz", "/nowhere", "/buy/nonsense"]) {
      wire.write(request("HEAD", path));
      const head = await wire.answer(true);
      expect(Number(head?.headers["content-length"]), path).toBeGreaterThan(0);
      wire.write(request("GET", "/healthz"));
      expect((await wire.answer())?.body).toBe('{"status":"alive"}');
    }
    wire.destroy();
  });
});

describe("pipelining and going away", () => {
  it("answers pipelined refusals in order", async () => {
    const wire = await Wire.open(edge.port);
    const codes = ["soldOut", "limitReached", "crowd", "busy", "soldOut", "crowd", "closed"];
    wire.write(codes.map((uid) => request("POST", `/buy/${ticketFor(uid)}`)).join(""));
    const got: unknown[] = [];
    for (const _ of codes) got.push(code((await wire.answer())?.body));
    expect(got).toEqual(["sold_out", "limit_reached", "sold_out", "busy", "sold_out", "sold_out", "closed"]);
    wire.destroy();
  });

  it("closes a connection that sends more while its answer is due; the purchase stands and can be asked again", async () => {
    const wire = await Wire.open(edge.port);
    wire.write(request("POST", `/buy/${ticketFor("win")}`) + request("POST", `/buy/${ticketFor("win")}`));
    await wire.closed();
    expect(wire.left).toBe("");
    expect((await ask(edge.port, request("POST", `/buy/${ticketFor("win")}`)))?.status).toBe(202);
  });

  it("forgets a client that goes away in the middle of its body or before its answer", async () => {
    const half = await Wire.open(edge.port);
    half.write(`POST ${buy} HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{"un`);
    const early = await Wire.open(edge.port);
    early.write(request("POST", `/buy/${ticketFor("hang")}`));
    await expect.poll(() => edge.mounted.waiting(), { timeout: 10_000 }).toBe(2);
    half.destroy();
    early.destroy();
    await expect.poll(() => edge.mounted.waiting(), { timeout: 10_000 }).toBe(0);
    for (const answer of edge.service.hanging.splice(0)) answer();
  });
});
