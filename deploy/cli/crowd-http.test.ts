import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { sendAll, type CrowdRequest, type RequestSource } from "./crowd-http.ts";

interface Counted extends CrowdRequest {
  readonly number: number;
}

const open = new Set<Socket>();
let server: Server | undefined;

/** Echoes the path; `treat` may deal with the connection itself and return true. */
const serve = async (treat: (path: string, socket: Socket) => boolean, port = 0): Promise<number> => {
  const started = createServer((request, response) => {
    if (treat(request.url ?? "", request.socket)) return;
    setImmediate(() => response.writeHead(request.method === "POST" ? 202 : 503, { "retry-after": "3" }).end(request.url));
  });
  started.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise<void>((resolve) => void started.listen(port, "127.0.0.1", resolve));
  server = started;
  return (started.address() as AddressInfo).port;
};

const close = async (): Promise<void> => {
  const closing = server;
  server = undefined;
  if (closing === undefined) return;
  const closed = new Promise<void>((resolve) => void closing.close(() => resolve()));
  for (const socket of open) socket.destroy();
  await closed;
};

afterEach(close);

/** All requests once; failed ones again until they are answered. */
const sourceOf = (
  requests: number,
  answered: RequestSource<Counted>["answered"],
  onFailed: () => void = () => undefined,
): RequestSource<Counted> => {
  const waiting = Array.from({ length: requests }, (_, number): Counted => ({ number, method: "POST", path: `/request/${number}` }));
  return {
    next: () => waiting.shift(),
    isEmpty: () => waiting.length === 0,
    answered,
    failed: (request) => {
      onFailed();
      waiting.push(request);
    },
  };
};

describe("sendAll", () => {
  it("sends each request once and gives each its own answer", async () => {
    const seen: string[] = [];
    const port = await serve((path) => {
      seen.push(path);
      return false;
    });
    const answers = new Map<number, string>();
    await sendAll(
      sourceOf(2_000, (request, answer) => {
        expect(answer.status).toBe(202);
        expect(answer.retryAfterMs).toBe(3_000);
        answers.set(request.number, answer.body);
      }),
      { url: `http://127.0.0.1:${port}`, connections: 20 },
    );
    expect(seen).toHaveLength(2_000);
    expect(new Set(seen).size).toBe(2_000);
    expect(answers.size).toBe(2_000);
    for (const [number, body] of answers) expect(body).toBe(`/request/${number}`);
  });

  it("tells of a request whose connection breaks, and never mixes answers up", async () => {
    const broken = new Set<string>();
    const port = await serve((path, socket) => {
      // the first time, every seventh connection breaks: at once, or in the middle of an answer
      const number = Number(path.split("/")[2]);
      if (number % 7 !== 0 || broken.has(path)) return false;
      broken.add(path);
      if (number % 2 === 0) socket.destroy();
      else socket.end("HTTP/1.1 202 Accepted\r\nContent-Length: 50\r\n\r\nhalf an ans");
      return true;
    });
    const answers = new Map<number, string>();
    let failures = 0;
    await sendAll(
      sourceOf(
        1_000,
        (request, answer) => answers.set(request.number, answer.body),
        () => (failures += 1),
      ),
      { url: `http://127.0.0.1:${port}`, connections: 10 },
    );
    expect(failures).toBe(broken.size);
    expect(answers.size).toBe(1_000);
    for (const [number, body] of answers) expect(body).toBe(`/request/${number}`);
  });

  it("waits for a server that is away, without losing more than was on its way", async () => {
    const connections = 10;
    let port = await serve(() => false);
    let failures = 0;
    let answered = 0;
    let restarting: Promise<void> | undefined;
    const restart = async (): Promise<void> => {
      await close();
      await new Promise((resolve) => setTimeout(resolve, 300));
      port = await serve(() => false, port);
    };
    await sendAll(
      sourceOf(
        3_000,
        () => {
          answered += 1;
          if (answered === 1_000) restarting = restart();
        },
        () => (failures += 1),
      ),
      { url: `http://127.0.0.1:${port}`, connections },
    );
    await restarting;
    expect(answered).toBe(3_000);
    expect(failures).toBeLessThanOrEqual(connections);
  });

  it("stops when it is told to", async () => {
    const port = await serve(() => false);
    const stop = new AbortController();
    let answered = 0;
    await sendAll(
      {
        next: () => ({ number: 0, method: "GET", path: "/again" }),
        isEmpty: () => false,
        answered: (_request, answer) => {
          expect(answer.status).toBe(503);
          answered += 1;
          if (answered === 100) stop.abort();
        },
        failed: () => undefined,
      },
      { url: `http://127.0.0.1:${port}`, connections: 2, stop: stop.signal },
    );
    expect(answered).toBeGreaterThanOrEqual(100);
  });
});
