import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { callableHosts } from "./callable-hosts.ts";
import { HttpCaller, RedirectPolicy, type HttpPolicy, type HttpResult } from "./http-caller.ts";
import { isPublicAddress, lookupPublic } from "./public-address.ts";

type Serve = (request: IncomingMessage, response: ServerResponse) => void;

/** A server of somebody else's: what came, and when the next comes. */
const startServer = async (serve: Serve) => {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url ?? "");
    serve(request, response);
    server.emit("served");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    paths,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** resolves when so many requests have come */
    came: async (count: number): Promise<void> => {
      while (paths.length < count) await new Promise((resolve) => server.once("served", resolve));
    },
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
};
type TestServer = Awaited<ReturnType<typeof startServer>>;

/** Longer than any test: a call that ends by this has not ended by what the test is about. */
const LONG_MS = 600_000;

let server: TestServer;
let serve: Serve;
const callers: HttpCaller[] = [];
const callerOf = (policy: Partial<HttpPolicy> = {}): HttpCaller => {
  const caller = new HttpCaller({ callable: callableHosts([]), hostCalls: 4, ...policy });
  callers.push(caller);
  return caller;
};
const get = (caller: HttpCaller, url: string, timeoutMs = LONG_MS): Promise<HttpResult> => caller.call({ method: "GET", url, timeoutMs });

beforeEach(async () => {
  serve = (_request, response) => response.end("fine");
  server = await startServer((request, response) => serve(request, response));
});
afterEach(async () => {
  await Promise.all(callers.splice(0).map((caller) => caller.close()));
  await server.stop();
});

describe("the outgoing HTTP caller", () => {
  it("answers with status, headers and body, and sends a body with a POST", async () => {
    let sent = "";
    serve = (request, response) => {
      request.setEncoding("utf8").on("data", (text: string) => (sent += text));
      request.on("end", () => response.writeHead(418, { "x-kind": "pot" }).end(`${request.method} ${String(request.headers["x-mine"])}`));
    };
    const url = `${server.url}/brew`;
    const result = await callerOf().call({ method: "POST", url, headers: { "x-mine": "1" }, body: "tea", timeoutMs: LONG_MS });
    expect(result).toMatchObject({ kind: "answered", status: 418, headers: { "x-kind": "pot" } });
    expect([sent, result.kind === "answered" && result.body.toString()]).toEqual(["tea", "POST 1"]);
  });

  it.each([
    ["nonsense", "not_a_url"],
    ["ftp://127.0.0.1/", "scheme"],
    ["http://ann:secret@127.0.0.1/", "credentials"],
    ["http://shop.example/", "host_not_listed"],
    ["http://127.0.0.1.example/", "host_not_listed"],
  ])("refuses %s: %s, and names no credentials", async (url, code) => {
    const result = await get(callerOf(), url);
    expect(result).toMatchObject({ kind: "refused", code });
    expect(JSON.stringify(result)).not.toContain("secret");
  });

  it("refuses what is not public, be it written or looked up", async () => {
    const caller = callerOf({ privateAddresses: false, callable: callableHosts(["10.0.0.1", "169.254.169.254", "[::ffff:a00:1]"]) });
    for (const host of ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "localhost"])
      expect(await get(caller, `${server.url.replace("127.0.0.1", host)}/`), host).toMatchObject({
        kind: "refused",
        code: "private_address",
      });
    expect(server.paths).toEqual([]);
    expect(["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"].map(isPublicAddress)).toEqual([true, true, true]);
    expect(["192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1", "fe80::1", "0.0.0.0", "no"].map(isPublicAddress)).not.toContain(true);
    for (const all of [true, false]) {
      const found = await new Promise((resolve) => lookupPublic("localhost", { all }, (error) => resolve(error?.name)));
      expect(found).toBe("NotPublicError");
    }
  });

  it("follows no redirect by default, and to its own origin only if told so", async () => {
    const other = await startServer((_request, response) => response.end("stolen"));
    serve = ({ url, method }, response) => {
      if (url === "/own") response.writeHead(method === "GET" ? 302 : 307, { location: "/there" }).end();
      else if (url === "/foreign") response.writeHead(307, { location: `${other.url}/` }).end();
      else if (url === "/circle") response.writeHead(302, { location: "/circle" }).end();
      else response.end("own");
    };
    const [strict, own] = [callerOf(), callerOf({ redirects: RedirectPolicy.sameOrigin })];
    expect(await get(strict, `${server.url}/own`)).toMatchObject({ kind: "answered", status: 302 });
    expect(await get(own, `${server.url}/own`)).toMatchObject({ kind: "answered", status: 200 });
    for (const caller of [strict, own])
      expect(await get(caller, `${server.url}/foreign`)).toMatchObject({
        kind: "answered",
        status: 307,
        headers: { location: `${other.url}/` },
      });
    expect(await own.call({ method: "POST", url: `${server.url}/own`, timeoutMs: LONG_MS })).toMatchObject({
      kind: "answered",
      status: 200,
    });
    expect(await get(own, `${server.url}/circle`)).toMatchObject({ kind: "answered", status: 302 });
    expect(server.paths.filter((path) => path === "/circle")).toHaveLength(4);
    expect(other.paths).toEqual([]);
    await other.stop();
  });

  it("reads no more of a body than is wished for", async () => {
    const endless: Serve = (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(10_000)));
      };
      response.on("drain", more);
      more();
    };
    serve = endless;
    expect(await get(callerOf(), server.url)).toMatchObject({ kind: "failed", code: "answer_too_large" });
    const beginning = await get(callerOf({ body: () => ({ take: "beginning", bytesMost: 5 }) }), server.url);
    expect(beginning.kind === "answered" && beginning.body.toString()).toBe("xxxxx");
  });

  it("fails for a body that breaks off, if all of it is wished for", async () => {
    serve = (_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("only", () => response.destroy());
    };
    expect(await get(callerOf(), server.url)).toMatchObject({ kind: "failed", code: "connection" });
    const cut = await get(callerOf({ body: () => ({ take: "beginning", bytesMost: 100 }) }), server.url);
    expect(cut.kind === "answered" && cut.body.toString()).toBe("only");
  });

  it("gives each time-out its own name", async () => {
    serve = (request, response) => {
      if (request.url === "/body") response.writeHead(200, { "content-length": "100" }).write("only");
    };
    expect(await get(callerOf(), server.url, 50)).toMatchObject({ kind: "failed", code: "timeout" });
    expect(await get(callerOf({ headersMs: 50 }), server.url)).toMatchObject({ kind: "failed", code: "headers_timeout" });
    expect(await get(callerOf({ bodyMs: 50 }), `${server.url}/body`)).toMatchObject({ kind: "failed", code: "body_timeout" });
    expect(await get(callerOf(), `${server.url}/body`, 50)).toMatchObject({ kind: "failed", code: "timeout" });
  });

  it("fails where nobody listens", async () => {
    const gone = await startServer(() => undefined);
    await gone.stop();
    expect(await get(callerOf(), gone.url)).toMatchObject({ kind: "failed", code: "connection" });
  });

  it("lets so many calls run at a host, so many wait, and no host wait for another", async () => {
    const held: ServerResponse[] = [];
    serve = (_request, response) => held.push(response);
    const other = await startServer((_request, response) => response.end());
    const caller = callerOf({ hostCalls: 2, hostWaiting: 1 });
    const calls = [get(caller, server.url), get(caller, server.url), get(caller, server.url)];
    await server.came(2);
    expect(await get(caller, server.url)).toMatchObject({ kind: "refused", code: "host_busy" });
    expect(await get(caller, other.url)).toMatchObject({ kind: "answered", status: 200 });
    expect(server.paths).toHaveLength(2);
    held.shift()?.end();
    await server.came(3);
    for (const response of held) response.end();
    expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(["answered", "answered", "answered"]);
    await other.stop();
  });
});
