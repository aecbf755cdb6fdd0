import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { ask, request, Wire, type WireAnswer } from "../../test/harness/wire.ts";

const SHOP = "https://shop.example";
const EVIL = "https://evil.example";
const EXPOSED = "Retry-After, Location, ETag, Doorbuster-Time";
const BODY = '{"units":1}';

let edge: EdgeWorld;
beforeAll(async () => {
  edge = await startEdgeWorld({ allowedOrigins: ["http://127.0.0.1:5173", "HTTPS://Shop.Example:443"] });
});
afterAll(() => edge.close());
afterEach(() => expect(edge.mounted.waiting()).toBe(0));

const buyPath = (uid: string): string => `/buy/${ticketFor(uid)}`;
const code = (answer: WireAnswer | undefined): unknown => (JSON.parse(answer?.body || "null") as { code?: unknown } | null)?.code;
/** What tells a page something. */
const corsOf = (answer: WireAnswer | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries(answer?.headers ?? {}).filter(([name]) => name.startsWith("access-control-") || name === "vary" || name === "allow"),
  );

const FOR_SHOP = {
  "access-control-allow-origin": SHOP,
  "access-control-allow-credentials": "true",
  "access-control-expose-headers": EXPOSED,
  vary: "Origin",
};
const FOR_ALL = { "access-control-allow-origin": "*", "access-control-expose-headers": EXPOSED };

/** One request to each answer that buyers' addresses have: method, path, status, headers, body. */
const buyersAnswers = (): [string, string, number, (readonly string[])?, string?][] => [
  ["POST", buyPath("win"), 202],
  ["POST", buyPath("win"), 202, [], BODY],
  ["POST", buyPath("again"), 200],
  ["POST", buyPath("crowd"), 409],
  ["POST", buyPath("soldOut"), 409],
  ["POST", buyPath("rejected"), 409],
  ["POST", buyPath("early"), 403],
  ["POST", buyPath("often"), 429],
  ["POST", buyPath("busy"), 503],
  ["POST", buyPath("throwEarly"), 500],
  ["POST", buyPath("throw"), 500],
  ["POST", "/buy/nonsense", 401],
  ["POST", buyPath("win"), 400, [], "{"],
  ["POST", buyPath("win"), 400, ["Idempotency-Key: a b"]],
  ["POST", buyPath("win"), 400, ["Transfer-Encoding: xchunked"]],
  ["POST", buyPath("win"), 413, [], " ".repeat(1_025)],
  ["POST", buyPath("win"), 431, [`X-Long: ${"a".repeat(9_000)}`]],
  ["GET", buyPath("win"), 200],
  ["GET", buyPath("recovering"), 503],
  ["HEAD", buyPath("again"), 200],
  ["DELETE", buyPath("win"), 405],
  ["GET", "/live", 426],
];

describe("a page of an allowed origin", () => {
  it("reads every answer of the buyers' addresses, whatever it is", async () => {
    for (const [method, path, status, headers = [], body = ""] of buyersAnswers()) {
      const answer = await ask(edge.port, request(method, path, [`Origin: ${SHOP}`, ...headers], body), method === "HEAD");
      const { allow: _allow, ...cors } = corsOf(answer);
      expect([answer?.status, cors], `${method} ${path}`).toEqual([status, FOR_SHOP]);
    }
  });

  it("is told by its own name, beside another that is allowed", async () => {
    const answer = await ask(edge.port, request("POST", buyPath("crowd"), ["Origin: http://127.0.0.1:5173"]));
    expect([answer?.status, answer?.headers["access-control-allow-origin"]]).toEqual([409, "http://127.0.0.1:5173"]);
  });

  it("keeps its connection through refusals and preflights", async () => {
    const wire = await Wire.open(edge.port);
    for (let times = 0; times < 3; times++) {
      const refused = await wire.write(request("POST", buyPath("crowd"), [`Origin: ${SHOP}`])).answer();
      expect([refused?.status, corsOf(refused)]).toEqual([409, FOR_SHOP]);
      const asked = [`Origin: ${SHOP}`, "Access-Control-Request-Method: POST"];
      expect((await wire.write(request("OPTIONS", buyPath("crowd"), asked)).answer())?.status).toBe(204);
    }
    wire.destroy();
  });
});

describe("who is no page of another origin", () => {
  it("is answered without a word about origins: apps, servers, our own pages", async () => {
    const own: (readonly string[])[] = [
      [],
      ["Origin: http://test"],
      ["Origin: https://test"],
      ["Origin: null", "Sec-Fetch-Site: same-origin"],
    ];
    for (const headers of [...own, ["Origin: https://shop.test:8443", "Sec-Fetch-Site: same-origin"], ["Sec-Fetch-Site: none"]]) {
      for (const uid of ["win", "crowd"]) {
        const answer = await ask(edge.port, request("POST", buyPath(uid), headers));
        expect([answer?.status, corsOf(answer)], headers.join()).toEqual([uid === "win" ? 202 : 409, {}]);
      }
    }
  });

  it("is known by its Host also where that names the port", async () => {
    const buy = (host: string, origin: string): Promise<WireAnswer | undefined> =>
      ask(edge.port, `POST ${buyPath("win")} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n\r\n`);
    for (const [host, origin, status] of [
      ["own.example:443", "https://own.example", 202],
      ["own.example:80", "http://own.example", 202],
      ["own.example:8443", "https://own.example:8443", 202],
      ["own.example:80", "https://own.example", 403],
      ["own.example", "https://own.example:8443", 403],
      ["own.example:8443", "https://own.example", 403],
      ["own.example", "capacitor://own.example", 403],
      // as long as http://
      ["own.example", "file://own.example", 403],
      ["own.example", "own.example", 403],
      ["own.example", "https://", 403],
      ["own.example.evil.example", "https://own.example", 403],
    ] as const)
      expect((await buy(host, origin))?.status, `${origin} at ${host}`).toBe(status);
  });

  it("is known by X-Forwarded-Host only behind a proxy that is trusted", async () => {
    const behind = await startEdgeWorld({ trustedProxies: 1 });
    for (const [names, direct, proxied] of [
      ["own.example", 403, 202],
      ["own.example:443", 403, 202],
      ["first.example, own.example", 403, 202],
      ["other.example", 403, 403],
    ] as const) {
      const text = request("POST", buyPath("win"), ["Origin: https://own.example", `X-Forwarded-Host: ${names}`]);
      expect([(await ask(edge.port, text))?.status, (await ask(behind.port, text))?.status], names).toEqual([direct, proxied]);
    }
    behind.close();
  });
});

const FOREIGN: readonly (readonly string[])[] = [
  [`Origin: ${EVIL}`],
  ["Origin: null"],
  ["Origin: http://shop.example"],
  ["Origin: https://SHOP.example"],
  ["Origin: https://shop.example:443"],
  ["Origin: https://shop.example:8443"],
  ["Origin: https://shop.example/"],
  ["Origin: https://shop.example.evil.example"],
  ["Origin: https://a.shop.example"],
  ["Origin: shop.example"],
  ["Origin: *"],
  [`Origin: ${SHOP}`, `Origin: ${EVIL}`],
  [`Origin: ${EVIL}`, `Origin: ${SHOP}`],
  [`Origin: ${SHOP} ${EVIL}`],
  ["Origin: http://test:8080"],
  ["Origin: http://test", "Sec-Fetch-Site: cross-site"],
  ["Origin: http://test", "Sec-Fetch-Site: same-site"],
  ["Origin: http://test", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
  ["Sec-Fetch-Site: cross-site"],
  ["Origin:", "Sec-Fetch-Site: cross-site"],
];

describe("a page of a foreign origin", () => {
  it("buys nothing: neither a token nor the service is asked, and its browser shows it nothing", async () => {
    edge.service.bought.length = 0;
    const asked: string[] = [];
    edge.service.refusal = (ticket) => {
      asked.push(ticket);
      return undefined;
    };
    const before = edge.mounted.answered.http.origin_not_allowed;
    for (const headers of FOREIGN) {
      for (const [more, body] of [
        [[], ""],
        [["Content-Length: 0"], ""],
        [["Idempotency-Key: k"], ""],
        [["Content-Type: text/plain"], BODY],
      ] as const) {
        const answer = await ask(edge.port, request("POST", buyPath("win"), [...headers, ...more], body));
        expect([answer?.status, code(answer), corsOf(answer)], headers.join()).toEqual([403, "origin_not_allowed", { vary: "Origin" }]);
      }
    }
    delete (edge.service as { refusal?: unknown }).refusal;
    expect([edge.service.bought, asked]).toEqual([[], []]);
    expect(edge.mounted.answered.http.origin_not_allowed - before).toBe(FOREIGN.length * 4);
  });

  it("costs its connection nothing, but where it sends a body", async () => {
    const wire = await Wire.open(edge.port);
    for (let times = 0; times < 3; times++)
      expect((await wire.write(request("POST", buyPath("win"), [`Origin: ${EVIL}`])).answer())?.status).toBe(403);
    const last = await wire.write(request("POST", buyPath("win"), [`Origin: ${EVIL}`], BODY)).answer();
    expect([last?.status, last?.headers["connection"]]).toEqual([403, "close"]);
    await wire.closed();
  });

  it("reads no answer of a buyer's address", async () => {
    for (const [method, path, , headers = [], body = ""] of buyersAnswers()) {
      const answer = await ask(edge.port, request(method, path, [`Origin: ${EVIL}`, ...headers], body), method === "HEAD");
      const { allow: _allow, ...cors } = corsOf(answer);
      expect(cors, `${method} ${path}`).toEqual({ vary: "Origin" });
    }
  });
});

describe("what is the same for everybody", () => {
  it("can be read by every page, and cached whoever asked first", async () => {
    const cases: [string, string, number, (readonly string[])?, string?][] = [
      ["GET", "/sales/sale-1", 200],
      ["HEAD", "/sales/sale-1", 200],
      ["GET", "/sales/sale-1", 304, ['If-None-Match: "v1"']],
      ["GET", "/sales/none", 404],
      ["GET", "/sales/silent", 503],
      ["POST", "/sales/sale-1", 405],
      ["GET", "/sales/sale-1", 400, [], "{}"],
      ["GET", "/sales/sale-1", 400, ["Transfer-Encoding: chunked"]],
      ["GET", "/time", 200],
      ["HEAD", "/time", 200],
      ["PUT", "/time", 405],
      ["GET", "/time", 431, [`X-Long: ${"a".repeat(9_000)}`]],
      ["GET", "/healthz", 200],
      ["GET", "/readyz", 200],
      ["GET", "/nowhere", 404],
      ["POST", "/nowhere", 404],
      ["HEAD", "/nowhere", 404],
    ];
    for (const [method, path, status, headers = [], body = ""] of cases) {
      for (const origin of [[], [`Origin: ${SHOP}`], [`Origin: ${EVIL}`, "Sec-Fetch-Site: cross-site"]]) {
        const answer = await ask(edge.port, request(method, path, [...origin, ...headers], body), method === "HEAD");
        const { allow: _allow, ...cors } = corsOf(answer);
        expect([answer?.status, cors], `${method} ${path} ${origin.join()}`).toEqual([status, FOR_ALL]);
      }
    }
  });
});

describe("OPTIONS", () => {
  const asked = (origin: string, method: string, headers = ""): string[] => [
    `Origin: ${origin}`,
    `Access-Control-Request-Method: ${method}`,
    ...(headers === "" ? [] : [`Access-Control-Request-Headers: ${headers}`]),
  ];
  const granted = (methods: string): Record<string, string> => ({
    "access-control-allow-methods": methods,
    "access-control-allow-headers": "Content-Type, Idempotency-Key, If-None-Match, Prefer",
    "access-control-max-age": "86400",
  });

  it("answers every preflight on one connection: what an allowed page may send, to a foreign one nothing", async () => {
    const wire = await Wire.open(edge.port);
    const preflight = async (path: string, headers: readonly string[]): Promise<Record<string, string>> => {
      const answer = await wire.write(request("OPTIONS", path, headers)).answer();
      expect([answer?.status, answer?.headers["content-length"], answer?.headers["transfer-encoding"]], path).toEqual([
        204,
        undefined,
        undefined,
      ]);
      return corsOf(answer);
    };
    const buy = buyPath("win");
    // What is asked for is not repeated: the browser compares it with what may be asked.
    for (const [method, headers] of [
      ["POST", "idempotency-key,prefer"],
      ["POST", "x-unknown"],
      ["PUT", ""],
      ["DELETE", "authorization"],
      ["GET", ""],
    ] as const) {
      expect(await preflight(buy, asked(SHOP, method, headers))).toEqual({ ...FOR_SHOP, ...granted("GET, HEAD, POST") });
      expect(await preflight(buy, asked(EVIL, method, headers))).toEqual({ vary: "Origin", allow: "GET, HEAD, POST, OPTIONS" });
    }
    for (const origin of ["null", `${SHOP}/`, "https://SHOP.example"])
      expect(await preflight(buy, asked(origin, "POST"))).toEqual({ vary: "Origin", allow: "GET, HEAD, POST, OPTIONS" });
    expect(await preflight("/live", asked(SHOP, "GET", "x"))).toEqual({ ...FOR_SHOP, ...granted("GET") });
    for (const path of ["/sales/sale-1", "/time", "/healthz", "/readyz"])
      expect(await preflight(path, asked(EVIL, "GET", "if-none-match"))).toEqual({ ...FOR_ALL, ...granted("GET, HEAD") });
    expect(await preflight("/nowhere", asked(EVIL, "POST", "x"))).toEqual({ ...FOR_ALL, ...granted("GET, HEAD, POST") });
    wire.destroy();
  });

  it("names the methods to who is no page", async () => {
    const wire = await Wire.open(edge.port);
    for (const [path, headers, allow] of [
      [buyPath("win"), [], "GET, HEAD, POST, OPTIONS"],
      [buyPath("win"), ["Access-Control-Request-Method: POST"], "GET, HEAD, POST, OPTIONS"],
      [buyPath("win"), [`Origin: ${SHOP}`], "GET, HEAD, POST, OPTIONS"],
      ["/sales/sale-1", [], "GET, HEAD, OPTIONS"],
      ["/live", [], "GET, OPTIONS"],
    ] as const) {
      const answer = await wire.write(request("OPTIONS", path, headers)).answer();
      expect([answer?.status, answer?.headers["allow"], answer?.headers["access-control-allow-methods"]]).toEqual([204, allow, undefined]);
    }
    const nothing = await wire.write(request("OPTIONS", "/nowhere")).answer();
    expect([nothing?.status, code(nothing)]).toEqual([404, "not_found"]);
    wire.destroy();
  });

  it("answers preflights that were sent together, in order, and refuses a body and doubtful framing", async () => {
    const wire = await Wire.open(edge.port);
    const one = request("OPTIONS", buyPath("win"), asked(SHOP, "POST"));
    wire.write(one + one + request("OPTIONS", "/sales/sale-1", asked(EVIL, "GET")));
    const answers = [await wire.answer(), await wire.answer(), await wire.answer()];
    expect(answers.map((answer) => answer?.headers["access-control-allow-origin"])).toEqual([SHOP, SHOP, "*"]);
    const body = await wire.write(request("OPTIONS", buyPath("win"), asked(SHOP, "POST"), "{}")).answer();
    expect([body?.status, body?.headers["access-control-allow-origin"], body?.headers["connection"]]).toEqual([400, SHOP, "close"]);
    await wire.closed();
    const doubtful = await ask(edge.port, request("OPTIONS", buyPath("win"), ["Content-Length: 0", "Content-Length: 5"]));
    expect(doubtful?.status).toBe(400);
  });

  it("still answers preflights while it drains, so that pages can read the last answers", async () => {
    const stopping = await startEdgeWorld({ allowedOrigins: [SHOP] });
    await stopping.mounted.drain();
    const answer = await ask(stopping.port, request("OPTIONS", buyPath("win"), asked(SHOP, "POST")));
    expect([answer?.status, answer?.headers["connection"], answer?.headers["access-control-allow-origin"]]).toEqual([204, "close", SHOP]);
    stopping.close();
  });

  it("is the host's where the mount does not know the address", async () => {
    const inside = await startEdgeWorld({ prefix: "/flash", allowedOrigins: [SHOP] }, (app) => {
      app.options("/*", (res) => void res.writeStatus("204 No Content").writeHeader("X-Host", "own").endWithoutBody());
    });
    const own = await ask(inside.port, request("OPTIONS", "/cart", asked(SHOP, "POST")));
    expect([own?.headers["x-host"], own?.headers["access-control-allow-origin"]]).toEqual(["own", undefined]);
    const ours = await ask(inside.port, request("OPTIONS", `/flash${buyPath("win")}`, asked(SHOP, "POST")));
    expect([ours?.headers["x-host"], ours?.headers["access-control-allow-origin"]]).toEqual([undefined, SHOP]);
    inside.close();
  });
});

describe("the WebSocket", () => {
  /** @returns what the upgrade was answered */
  const opens = (headers: Readonly<Record<string, string>>): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${edge.port}/live?ticket=${ticketFor("win")}`, { headers });
      socket.on("open", () => {
        socket.terminate();
        resolve(101);
      });
      socket.on("unexpected-response", (_, response) => {
        socket.terminate();
        resolve(response.statusCode ?? 0);
      });
      socket.on("error", reject);
    });

  it("is judged by the same list", async () => {
    const own = `127.0.0.1:${edge.port}`;
    const before = edge.mounted.answered.live.origin_not_allowed;
    for (const [headers, status] of [
      [{}, 101],
      [{ Origin: SHOP }, 101],
      [{ Origin: `http://${own}` }, 101],
      [{ Origin: `https://${own}` }, 101],
      [{ Origin: EVIL, "Sec-Fetch-Site": "same-origin" }, 101],
      [{ Origin: EVIL }, 403],
      [{ Origin: "null" }, 403],
      [{ Origin: `${SHOP}:443` }, 403],
      [{ Origin: `http://${own}`, "Sec-Fetch-Site": "cross-site" }, 403],
    ] as const)
      expect(await opens(headers), JSON.stringify(headers)).toBe(status);
    expect(edge.mounted.answered.live.origin_not_allowed - before).toBe(4);
    await expect.poll(() => edge.mounted.sockets(), { timeout: 10_000 }).toBe(0);
  });
});

describe("the list", () => {
  it("is refused at the mount where an entry is no origin", async () => {
    for (const origin of ["*", "null", "https://shop.example/", "shop.example"])
      await expect(startEdgeWorld({ allowedOrigins: [SHOP, origin] }), origin).rejects.toThrow(`allowed origin "${origin}"`);
  });
});
