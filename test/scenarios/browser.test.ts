import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { MethodTap, PageSite, startBrowser } from "../harness/browser.ts";
import { ticketFor } from "../harness/edge-world.ts";
import { endGateways, GatewayProgram } from "../harness/gateway-program.ts";
import { startGatewayWorld, type GatewayWorld } from "../harness/gateway-world.ts";
import { until } from "../harness/index.ts";
import { findProxy, startProxy, type Proxy } from "../harness/proxies.ts";

const SALE = "browser-sale";
const LATER = "browser-later";

let browser: Browser | undefined;
let world: GatewayWorld;
let gateway: GatewayProgram;
let tap: MethodTap;
let shop: PageSite;
let elsewhere: PageSite;

beforeAll(async () => {
  browser = await startBrowser("buying from a page");
  if (browser === undefined) return;
  [world, shop, elsewhere] = await Promise.all([startGatewayWorld(), PageSite.start(), PageSite.start()]);
  await world.openSale({ id: SALE, limitPerBuyer: 2 }, 100);
  await world.openSale({ id: LATER, opensAtMs: Date.now() + 600_000 }, 100);
  gateway = await GatewayProgram.start(world, { DOORBUSTER_GATEWAY_PROCESSES: "1", DOORBUSTER_ALLOWED_ORIGINS: shop.origin });
  tap = await MethodTap.start(gateway.port);
  await until(
    async () => (await fetch(`http://127.0.0.1:${gateway.port}/sales/${LATER}`).catch(() => undefined))?.status === 200,
    "the gateway to serve the sale",
  );
});
afterAll(async () => {
  await browser?.close();
  if (browser === undefined) return;
  await endGateways();
  await Promise.all([tap.stop(), shop.stop(), elsewhere.stop(), world.stop()]);
});
beforeEach((context: TestContext) => {
  if (browser === undefined) context.skip("no Chromium");
  tap.asked.length = 0;
});

const buyUrl = (uid: string, saleId = SALE): string => `http://127.0.0.1:${tap.port}/buy/${ticketFor(uid, saleId)}`;
const hasBought = async (uid: string): Promise<boolean> => (await world.client(0).hexists(`{s0}:buyers:${SALE}`, uid)) === 1;

interface Seen {
  readonly status?: number;
  readonly body?: { readonly code?: string; readonly nowMs?: number };
  readonly headers?: Readonly<Record<string, string>>;
  readonly error?: string;
}

/** What a script of the page sees of one fetch. */
const fetched = (page: Page, url: string, options: unknown = {}): Promise<Seen> =>
  page.evaluate(
    async ([url, options]) => {
      try {
        const response = await fetch(url, options);
        return { status: response.status, headers: Object.fromEntries(response.headers), body: (await response.json()) as object };
      } catch (error) {
        return { error: String(error) };
      }
    },
    [url, options as RequestInit] as const,
  );

/** What a script of the page hears on one WebSocket that buys as soon as it is open. */
const bought = (page: Page, url: string): Promise<string> =>
  page.evaluate(
    (url) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(url);
        socket.addEventListener("open", () => socket.send('{"op":"buy","ref":1}'));
        socket.addEventListener("message", ({ data }) => resolve(String(data)));
        socket.addEventListener("close", ({ code }) => resolve(`closed ${code}`));
      }),
    url,
  );

describe("a page of an allowed origin", () => {
  it("buys by a simple request, waits for the order, and reads answer and headers", async () => {
    const page = await shop.open(browser as Browser);
    const buying = fetched(page, `${buyUrl("ann")}?wait=20`, { method: "POST", body: '{"units":1,"key":"first"}' });
    await until(async () => (await world.client(0).hlen(`{s0}:buyers:${SALE}`)) > 0, "the reservation");
    await world.apply(0);
    const seen = await buying;
    expect([seen.status, seen.body]).toMatchObject([201, { code: "confirmed", units: 1 }]);
    expect(tap.asked).toEqual(["POST /buy"]);

    // by Location alone, without a header of its own
    const standing = await fetched(page, `http://127.0.0.1:${tap.port}${seen.headers?.["location"]}`);
    expect([standing.status, standing.body]).toMatchObject([200, { code: "confirmed" }]);
    expect(tap.asked).toEqual(["POST /buy", "GET /buy"]);
    await page.close();
  });

  it("reads refusals, with cookies sent along and without", async () => {
    const page = await shop.open(browser as Browser);
    for (const credentials of ["omit", "include"]) {
      const early = await fetched(page, buyUrl("ben", LATER), { method: "POST", credentials });
      expect([early.status, early.body, Number(early.headers?.["retry-after"])]).toEqual([
        403,
        expect.objectContaining({ code: "not_open" }),
        expect.closeTo(600, -2),
      ]);
      const bad = await fetched(page, buyUrl("ben"), { method: "POST", credentials, body: "{" });
      expect([bad.status, bad.body]).toMatchObject([400, { code: "bad_request" }]);
    }
    expect(new Set(tap.asked)).toEqual(new Set(["POST /buy"]));
    await page.close();
  });

  it("asks once before it sends headers of its own", async () => {
    const page = await shop.open(browser as Browser);
    const options = {
      method: "POST",
      headers: { "Idempotency-Key": "k", Prefer: "wait=0", "Content-Type": "application/json" },
      body: "{}",
    };
    const url = buyUrl("cleo");
    for (let times = 0; times < 2; times++) expect((await fetched(page, url, options)).status).toBe(202);
    expect(tap.asked).toEqual(["OPTIONS /buy", "POST /buy", "POST /buy"]);
    expect((await fetched(page, buyUrl("cleo"), { method: "POST", headers: { "X-Other": "x" } })).error).toContain("Failed to fetch");
    await page.close();
  });

  it("buys on a WebSocket", async () => {
    const page = await shop.open(browser as Browser);
    const heard = await bought(page, `ws://127.0.0.1:${tap.port}/live?ticket=${ticketFor("dora", SALE)}`);
    expect(JSON.parse(heard)).toMatchObject({ op: "outcome", ref: 1, code: "reserved" });
    await page.close();
  });
});

describe("a page of a foreign origin", () => {
  /** Whatever such a page can send without being asked first: each would have bought. */
  const sends: Readonly<Record<string, (page: Page, url: string) => Promise<unknown>>> = {
    "a fetch": async (page, url) => expect((await fetched(page, url, { method: "POST" })).error).toContain("Failed to fetch"),
    "a fetch with a body and cookies": async (page, url) =>
      expect((await fetched(page, url, { method: "POST", body: "{}", credentials: "include" })).error).toContain("Failed to fetch"),
    "a fetch that wants no answer": (page, url) =>
      page.evaluate((url) => fetch(url, { method: "POST", mode: "no-cors" }).then(({ type }) => type), url),
    "a beacon": (page, url) => page.evaluate(`navigator.sendBeacon(${JSON.stringify(url)})`),
    "a sandboxed frame": (page, url) =>
      page.setContent(
        `<iframe sandbox="allow-scripts" srcdoc="<script>fetch('${url}', { method: 'POST', mode: 'no-cors' })</script>"></iframe>`,
      ),
    // leaves the page
    "a form": (page, url) =>
      page.setContent(`<form method="post" action="${url}"></form>`).then(() => page.evaluate("document.forms[0].submit()")),
  };

  it("buys nothing by anything that it can send, and no decision is asked", async () => {
    const answered = async (): Promise<Readonly<Record<string, number>>> => {
      const metrics = await gateway.metrics();
      const of = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(metrics)?.[1] ?? 0);
      return {
        refused: of('doorbuster_gateway_answers_total\\{channel="http",code="origin_not_allowed"\\}'),
        decided: of('doorbuster_gateway_call_seconds_count\\{kind="purchases"\\}'),
      };
    };
    const before = await answered();
    let uid = 0;
    // another port is another origin of the same site, another name is another site
    for (const origin of [elsewhere.origin, elsewhere.origin.replace("127.0.0.1", "localhost")]) {
      const page = await elsewhere.open(browser as Browser, origin);
      for (const [name, send] of Object.entries(sends)) {
        tap.asked.length = 0;
        await send(page, buyUrl(`foreign-${++uid}`));
        await until(() => tap.asked.length > 0, `${name} to arrive`);
        expect(tap.asked, name).toEqual(["POST /buy"]);
      }
      await page.close();
    }
    await until(async () => ((await answered())["refused"] ?? 0) - (before["refused"] ?? 0) === uid, "all refusals");
    expect((await answered())["decided"]).toBe(before["decided"]);
    for (let foreign = 1; foreign <= uid; foreign++) expect(await hasBought(`foreign-${foreign}`)).toBe(false);
  });

  it("is asked before it sends headers of its own, and then sends nothing", async () => {
    const page = await elsewhere.open(browser as Browser);
    const seen = await fetched(page, buyUrl("eve"), { method: "POST", headers: { "Idempotency-Key": "k" } });
    expect([seen.error, tap.asked]).toEqual([expect.stringContaining("Failed to fetch"), ["OPTIONS /buy"]]);
    await page.close();
  });

  it("opens no WebSocket", async () => {
    const page = await elsewhere.open(browser as Browser);
    expect(await bought(page, `ws://127.0.0.1:${tap.port}/live?ticket=${ticketFor("eve", SALE)}`)).toBe("closed 1006");
    expect(await hasBought("eve")).toBe(false);
    await page.close();
  });

  it("reads what is the same for everybody", async () => {
    const page = await elsewhere.open(browser as Browser);
    const sale = await fetched(page, `http://127.0.0.1:${tap.port}/sales/${SALE}`);
    expect([sale.status, sale.headers?.["etag"]]).toEqual([200, expect.any(String)]);
    const time = await fetched(page, `http://127.0.0.1:${tap.port}/time`);
    expect([time.body?.nowMs, time.headers?.["doorbuster-time"]]).toEqual([expect.closeTo(Date.now(), -5), String(time.body?.nowMs)]);
    expect((await fetched(page, `http://127.0.0.1:${tap.port}/nowhere`)).body).toMatchObject({ code: "not_found" });
    await page.close();
  });
});

describe("a page of the gateway's own origin, behind nginx", () => {
  const PAGE = "location = /shop { default_type text/html; return 200 '<!doctype html><title>shop</title>'; }";
  const HOST = "proxy_set_header Host $http_host;";
  /** one that hands the name on, as the file that ships does, and one that says its own name for the gateway */
  let proxies: readonly Proxy[] = [];
  beforeAll(async () => {
    if (browser === undefined) return;
    const found = await findProxy("nginx");
    if ("why" in found) {
      process.stderr.write(`SKIPPED a page of the own origin behind nginx: ${found.why}\n`);
      return;
    }
    const withPage = (text: string): string => text.replace("location / {", `${PAGE}\n    location / {`);
    const changes = [withPage, (text: string): string => withPage(text).replace(HOST, "")];
    proxies = await Promise.all(
      changes.map((change) => startProxy({ kind: "nginx", program: found.program, gatewayPort: gateway.port, change })),
    );
  });
  afterAll(() => Promise.all(proxies.map((proxy) => proxy.stop())));
  beforeEach((context: TestContext) => {
    if (proxies.length === 0) context.skip("no nginx");
  });

  const shopOf = async ({ port }: Proxy): Promise<Page> => {
    const page = await (browser as Browser).newPage();
    await page.goto(`http://127.0.0.1:${port}/shop`);
    return page;
  };
  const liveOf = ({ port }: Proxy, uid: string): string => `ws://127.0.0.1:${port}/live?ticket=${ticketFor(uid, SALE)}`;

  it("buys without being listed, whatever name nginx gives the gateway", async () => {
    for (const [n, proxy] of proxies.entries()) {
      const page = await shopOf(proxy);
      const seen = await fetched(page, `/buy/${ticketFor(`own-${n}`, SALE)}`, { method: "POST" });
      expect([seen.status, seen.body]).toMatchObject([202, { code: "reserved" }]);
      await page.close();
    }
  });

  it("opens a WebSocket where nginx hands the name on", async () => {
    const [proxy] = proxies as [Proxy];
    const page = await shopOf(proxy);
    expect(JSON.parse(await bought(page, liveOf(proxy, "own-live")))).toMatchObject({ op: "outcome", code: "reserved" });
    await page.close();
  });

  it("is not every page that asks through nginx", async () => {
    const page = await elsewhere.open(browser as Browser);
    for (const [n, proxy] of proxies.entries()) {
      await fetched(page, `http://127.0.0.1:${proxy.port}/buy/${ticketFor(`other-${n}`, SALE)}`, { method: "POST" });
      expect(await bought(page, liveOf(proxy, `other-${n}`))).toBe("closed 1006");
      expect(await hasBought(`other-${n}`)).toBe(false);
    }
    await page.close();
  });
});
