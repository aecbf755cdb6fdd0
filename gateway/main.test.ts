import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { requests, type OpenSale, type SaleRecord } from "#protocol";
import { until } from "../test/harness/index.ts";
import { startGatewayWorld, type GatewayWorld } from "../test/harness/gateway-world.ts";
import { ticketFor } from "../test/harness/edge-world.ts";
import { ADMIN_TOKEN, endGateways, GatewayProgram } from "../test/harness/gateway-program.ts";
import { ask, request, Wire, type WireAnswer } from "../test/harness/wire.ts";

const execute = promisify(execFile);
const SALE = "main-sale";
let world: GatewayWorld;
let gateway: GatewayProgram;

const get = async (path: string): Promise<WireAnswer | undefined> => ask(gateway.port, request("GET", path)).catch(() => undefined);
const untilServes = (program: GatewayProgram): Promise<void> =>
  until(
    async () => {
      if (program.exitCode !== undefined) throw new Error(`the gateway ended: ${program.output}`);
      return (await ask(program.port, request("GET", `/sales/${SALE}`)).catch(() => undefined))?.status === 200;
    },
    "the gateway to serve the sale",
    20_000,
  );
const buy = (uid: string, headers: readonly string[] = []): Promise<WireAnswer | undefined> =>
  ask(gateway.port, request("POST", `/buy/${ticketFor(uid, SALE)}`, headers));
const metrics = (program = gateway): Promise<string> => program.metrics();
const code = (answer: WireAnswer | undefined): unknown => (JSON.parse(answer?.body ?? "{}") as { code?: unknown }).code;

beforeAll(async () => {
  world = await startGatewayWorld();
  await world.connection.jetstream().views.kv("sales");
  await world.openSale({ id: SALE }, 1_000);
  gateway = await GatewayProgram.start(world);
  await untilServes(gateway);
});
afterAll(async () => {
  await endGateways();
  await world.stop();
});

describe("the gateway program", () => {
  it("sells over HTTP and WebSocket with the same answers, and pushes what was bought elsewhere", async () => {
    const first = await buy("ann");
    expect([first?.status, code(first)]).toEqual([202, "reserved"]);
    const { orderId } = JSON.parse(first?.body ?? "") as { orderId: string };
    const repeat = await buy("ann");
    expect([repeat?.status, JSON.parse(repeat?.body ?? "")]).toEqual([202, { code: "reserved", orderId, units: 1 }]);

    const frames: unknown[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/live?ticket=${ticketFor("ann", SALE)}`);
    socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString())));
    await new Promise((resolve) => void socket.on("open", resolve));
    socket.send('{"op":"buy","ref":1}');
    await until(() => frames.length === 1, "the answer on the socket");
    expect(frames[0]).toEqual({ op: "outcome", ref: 1, code: "reserved", orderId, units: 1, repeat: true });

    const held = buy("bob", ["Prefer: wait=20"]);
    await until(async () => (await world.client(0).hexists(`{s0}:buyers:${SALE}`, "bob")) === 1, "bob's reservation");
    await until(async () => {
      await world.apply(0);
      return frames.length > 1;
    }, "the push");
    expect(frames[1]).toMatchObject({ op: "status", code: "confirmed", orderId });
    expect([(await held)?.status, code(await held)]).toEqual([201, "confirmed"]);
    const after = await buy("ann");
    expect([after?.status, code(after)]).toEqual([200, "confirmed"]);
    const standing = await get(`/buy/${ticketFor("ann", SALE)}`);
    expect([standing?.status, code(standing)]).toEqual([200, "confirmed"]);
    expect(code(await get(`/buy/${ticketFor("nobody", SALE)}`))).toBe("none");
    socket.close();
  });

  it("lives on through hostile clients: the same processes serve afterwards", async () => {
    const before = await gateway.processes();
    expect(before.length).toBe(2);
    const good = ticketFor("carl", SALE);
    const texts = [
      `POST /buy/${good} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n${request("POST", `/buy/${ticketFor("smuggled", SALE)}`)}`,
      `POST /buy/${good} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      request("POST", `/buy/${good}`, [], "x".repeat(100_000)),
      request("POST", `/buy/${good}`, [`X: ${"y".repeat(60_000)}`]),
      request("HEAD", `/sales/${SALE}`),
      request("POST", "/buy/%0d%0aX:y"),
      request("GET", `/live?ticket=${good}`),
      "\x16\x03\x01",
    ];
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        texts.map(async (text) => {
          const wire = await Wire.open(gateway.port);
          wire.write(text);
          if (round % 2 === 0) await ask(gateway.port, request("GET", "/healthz"));
          wire.destroy();
        }),
      );
    }
    expect(await gateway.processes()).toEqual(before);
    expect((await buy("dora"))?.status).toBe(202);
    expect(await world.client(0).hexists(`{s0}:buyers:${SALE}`, "smuggled")).toBe(0);
  });

  it("says once, and in a number, how this build of uWebSockets.js takes a request line in two parts", async () => {
    const isOld = Number(process.versions.node.split(".")[0]) < 22;
    await until(async () => (await metrics()).includes(`doorbuster_gateway_parser_takes_parts ${isOld ? 0 : 1}\n`), "the number");
    expect(gateway.output.split("a request line that arrives in two parts").length).toBe(isOld ? 2 : 1);
  });

  it("refuses to share its port with another gateway, readably", async () => {
    const second = await GatewayProgram.start(world, { DOORBUSTER_GATEWAY_PORT: String(gateway.port) });
    await until(() => second.exitCode !== undefined, "the second gateway to end", 20_000);
    expect([second.exitCode, second.output]).toEqual([1, expect.stringContaining("is another gateway running?")]);
    expect(second.output).toContain("EADDRINUSE");
  });

  it("refuses to share the port of its metrics, too, and ends", async () => {
    const second = await GatewayProgram.start(world, { DOORBUSTER_GATEWAY_METRICS_PORT: String(gateway.metricsPort) });
    await until(() => second.exitCode !== undefined, "the second gateway to end", 20_000);
    expect([second.exitCode, second.output]).toEqual([1, expect.stringContaining("EADDRINUSE")]);
  });

  it("tells metrics and health on a port of their own, without the operators' credential, and nothing else there", async () => {
    const statuses = async (paths: readonly string[]): Promise<readonly number[]> =>
      Promise.all(paths.map(async (path) => (await gateway.page(path)).status));
    expect(await statuses(["/metrics", "/healthz", "/readyz", "/sales", "/shards", "/"])).toEqual([200, 200, 200, 404, 404, 404]);
    expect(await (await gateway.page("/readyz")).json()).toEqual({ ok: true, settings: [] });
    expect((await gateway.admin("/metrics")).status).toBe(404);
    expect((await ask(gateway.port, request("GET", "/metrics")))?.status).toBe(404);
  });

  it("replaces a process that is killed, and counts it", async () => {
    const [victim] = await gateway.processes();
    process.kill(victim as number, "SIGKILL");
    await until(async () => (await metrics()).includes("doorbuster_gateway_processes_ready 2"), "two processes to be ready again", 20_000);
    expect(await metrics()).toContain("doorbuster_gateway_restarts 1");
    expect(await gateway.processes()).not.toContain(victim);
  });

  it("lists all that is wrong with its configuration together", async () => {
    const wrong = await GatewayProgram.start(world, {
      NODE_ENV: "production",
      NATS_URL: "",
      REDIS_SHARDS: "http://nowhere",
      DOORBUSTER_ADMIN_TOKEN: "change-me-change-me",
      DOORBUSTER_TICKET_KEYS: "k1:a secret for tests,k1:another secret for tests",
      DOORBUSTER_DRAIN_MS: "soon",
      DOORBUSTER_GATWAY_PORT: "80",
    });
    await until(() => wrong.exitCode !== undefined, "the program to end");
    expect(wrong.exitCode).toBe(1);
    for (const name of [
      "NATS_URL",
      "REDIS_SHARDS",
      "DOORBUSTER_ADMIN_TOKEN",
      "DOORBUSTER_TICKET_KEYS",
      "DOORBUSTER_DRAIN_MS",
      "DOORBUSTER_GATWAY_PORT",
    ])
      expect(wrong.output).toContain(`- ${name}: `);
    expect(wrong.output).not.toContain("    at ");
  });
});

describe("a process without a file descriptor left", () => {
  const metric = async (program: GatewayProgram, name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await metrics(program))?.[1]);

  it("serves those who are connected, can reach its stores anew, and accepts again when clients have left", async () => {
    const small = await GatewayProgram.start(world, { DOORBUSTER_GATEWAY_PROCESSES: "1" });
    await untilServes(small);
    const [pid] = await small.processes();
    const kept = await Wire.open(small.port);
    expect((await kept.write(request("GET", "/healthz")).answer())?.status).toBe(200);
    await execute("prlimit", ["--pid", String(pid), "--nofile=256:256"]);
    const crowd: Wire[] = [];
    for (let n = 0; n < 400; n++)
      await Wire.open(small.port).then(
        (wire) => crowd.push(wire),
        () => undefined,
      );
    await until(async () => (await metric(small, "doorbuster_gateway_accepting")) === 0, "it to be full");
    await expect(Wire.open(small.port)).rejects.toThrow("ECONNREFUSED");
    const { length: open } = await readdir(`/proc/${pid}/fd`);
    expect(256 - open, "descriptors kept for its stores").toBeGreaterThanOrEqual(64);
    // its connection to Redis is lost, and made anew
    const clients = String(await world.client(0).client("LIST")).split("\n");
    for (const client of clients.filter((line) => line.includes(" name=gateway ")))
      await world.client(0).client("KILL", "ID", /id=(\d+)/.exec(client)?.[1] ?? "");
    const buyOnKept = (uid: string): Promise<WireAnswer | undefined> =>
      kept.write(request("POST", `/buy/${ticketFor(uid, SALE)}`)).answer();
    await until(async () => (await buyOnKept("hugo"))?.status === 202, "a purchase on a new connection to Redis");
    expect(await metric(small, "doorbuster_gateway_full_total")).toBe(1);
    expect(small.output.split("no file descriptor is left").length).toBe(2);
    for (const wire of crowd) wire.destroy();
    await until(async () => (await metric(small, "doorbuster_gateway_accepting")) === 1, "it to accept again");
    expect((await ask(small.port, request("GET", `/sales/${SALE}`)))?.status).toBe(200);
    expect((await kept.write(request("GET", "/healthz")).answer())?.status).toBe(200);
    kept.destroy();
    await small.end();
  });
});

describe("the admin API", () => {
  const sale: OpenSale = {
    id: "new",
    campaign: "default",
    title: "New",
    units: 5,
    priceMinor: 0,
    currency: "CNY",
    opensAtMs: 1_000_000_000_000,
    closesAtMs: 2_000_000_000_000,
    limitPerBuyer: 1,
    payWithinMs: 0,
  };

  it("lets nobody in without the token, but for its health", async () => {
    expect((await gateway.admin("/healthz", { token: "" })).status).toBe(200);
    for (const token of ["", "wrong", ADMIN_TOKEN.slice(0, -1), `${ADMIN_TOKEN}x`, ADMIN_TOKEN.toUpperCase()]) {
      for (const [path, method] of [
        ["/sales", "GET"],
        ["/sales", "POST"],
        ["/sales/x/state", "POST"],
        ["/sales/x/units", "POST"],
        ["/nowhere", "GET"],
      ] as const) {
        const answer = await gateway.admin(path, { token, method });
        expect([answer.status, answer.headers.get("www-authenticate")], `${method} ${path}`).toEqual([401, "Bearer"]);
      }
    }
    const basic = await fetch(`http://127.0.0.1:${gateway.adminPort}/sales`, {
      headers: { authorization: `Basic ${ADMIN_TOKEN}`, connection: "close" },
    });
    expect(basic.status).toBe(401);
    expect((await gateway.admin("/nowhere")).status).toBe(404);
  });

  it("says clearly what is wrong with a request", async () => {
    const cases: [string, unknown, string[]][] = [
      ["/sales", {}, ["id", "title", "units", "opensAtMs", "closesAtMs"]],
      ["/sales", { ...sale, units: 0, closesAtMs: 0.5, extra: 1 }, ["units", "closesAtMs", "extra"]],
      ["/sales", { ...sale, closesAtMs: sale.opensAtMs }, ["closesAtMs must be after opensAtMs"]],
      ["/sales", { ...sale, title: "a\0b" }, ["title: must have no control characters"]],
      ["/sales", JSON.stringify({ ...sale, title: "x" }).replace('"x"', String.raw`"\ud83d"`), ["title: must have no control characters"]],
      ["/sales", { ...sale, campaign: "a\u0007" }, ["campaign: "]],
      ["/sales", { ...sale, opensAtMs: 1e9, closesAtMs: 2e15 }, ["opensAtMs: must be whole milliseconds", "in seconds", "in microseconds"]],
      ["/orders/0-1-1-0/payments", { saleId: "a", uid: "ann", paymentId: "p\0" }, ["paymentId: "]],
      ["/sales", "{", ["JSON"]],
      ["/sales/a b/state", { state: "open" }, ["id"]],
      ["/sales/x/state", { state: "ajar" }, ["state"]],
      ["/sales/x/units", { units: -1 }, ["grantId", "units"]],
    ];
    for (const [path, body, words] of cases) {
      const answer = await gateway.admin(encodeURI(path), { method: "POST", body });
      const problem = (await answer.json()) as { code: string; detail: string };
      expect([answer.status, problem.code]).toEqual([400, "bad_request"]);
      expect(answer.headers.get("content-type")).toContain("application/problem+json");
      for (const word of words) expect(problem.detail).toContain(word);
    }
    expect((await gateway.admin("/sales", { method: "POST", body: { title: "x".repeat(20_000) } })).status).toBe(413);
  });

  it("says 503 while no worker answers, then forwards and gives the workers' answers back", async () => {
    const silent = await gateway.admin("/sales", { method: "POST", body: sale });
    expect([silent.status, silent.headers.get("retry-after")]).toEqual([503, "1"]);
    const asked: [string, unknown][] = [];
    const { units, ...definition } = sale;
    const record: SaleRecord = { ...definition, totalUnits: units, state: "open", shards: [0], version: 1 };
    let answer: unknown = { ok: true, value: record };
    const worker = world.connection.subscribe("doorbuster.sale.*", {
      callback: (_, message) => {
        asked.push([message.subject, message.json()]);
        message.respond(JSON.stringify(message.subject === requests.sales.subject ? { ok: true, value: [record] } : answer));
      },
    });
    await world.connection.flush();
    const opened = await gateway.admin("/sales", { method: "POST", body: sale });
    expect([opened.status, await opened.json()]).toEqual([201, record]);
    const list = await gateway.admin("/sales");
    expect([list.status, await list.json()]).toEqual([200, [record]]);
    expect((await gateway.admin("/sales/new/state", { method: "POST", body: { state: "paused" } })).status).toBe(200);
    expect((await gateway.admin("/sales/new/units", { method: "POST", body: { grantId: "g1", units: 3 } })).status).toBe(200);
    expect(asked).toEqual([
      [requests.openSale.subject, sale],
      [requests.sales.subject, { archived: false }],
      [requests.changeSale.subject, { id: "new", state: "paused" }],
      [requests.addUnits.subject, { saleId: "new", grantId: "g1", units: 3 }],
    ]);
    for (const [code, status] of [
      ["conflict", 409],
      ["not_found", 404],
      ["unavailable", 503],
    ] as const) {
      answer = { ok: false, code, detail: "because" };
      const refused = await gateway.admin("/sales", { method: "POST", body: sale });
      expect([refused.status, await refused.json()]).toMatchObject([status, { code, detail: "because" }]);
    }
    answer = "nonsense";
    expect((await gateway.admin("/sales", { method: "POST", body: sale })).status).toBe(503);
    worker.unsubscribe();
  });

  it("says aloud that a proxy stands in front that nobody named: in the log, in metrics, in /readyz", async () => {
    for (let count = 0; count < 20; count++) await ask(gateway.port, request("GET", "/healthz", ["X-Forwarded-For: 203.0.113.9"]));
    const text = await gateway.metrics();
    const doubted = /^doorbuster_gateway_address_doubts_total\{doubt="untrusted"\} (\d+)$/m.exec(text);
    expect(Number(doubted?.[1])).toBeGreaterThanOrEqual(20);
    expect(text).toContain('doorbuster_gateway_address_doubts_total{doubt="untold"} 0');
    const lines = gateway.output.split("\n").filter((line) => line.includes("DOORBUSTER_TRUSTED_PROXIES"));
    // each process once
    expect(lines.length).toBeGreaterThanOrEqual(1);
    expect(lines.length).toBeLessThanOrEqual(2);
    expect(JSON.parse(lines[0] as string)).toMatchObject({ level: 40, doubt: "untrusted", peer: "127.0.0.1", leftOut: 0 });
    await until(
      async () => ((await get("/readyz"))?.body ?? "").includes("DOORBUSTER_TRUSTED_PROXIES"),
      "a process that forwarded requests came to",
    );
  });

  it("sums the metrics of all processes", async () => {
    for (let count = 0; count < 20; count++) await ask(gateway.port, request("POST", "/buy/nonsense"));
    const text = await metrics();
    const told = /^doorbuster_gateway_answers_total\{channel="http",code="ticket_invalid"\} (\d+)$/m.exec(text);
    expect(Number(told?.[1])).toBeGreaterThanOrEqual(20);
    expect(text).toContain("doorbuster_gateway_outcomes_total");
    expect(text).toContain("process_cpu_seconds_total");
  });
});

describe("stopping", () => {
  it("drains on SIGTERM: answers what it holds, sends sockets away, leaves nothing", async () => {
    const processes = await gateway.processes();
    const closes: number[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/live?ticket=${ticketFor("eve", SALE)}`);
    socket.on("close", (closeCode) => closes.push(closeCode));
    await new Promise((resolve) => void socket.on("open", resolve));
    const held = await Wire.open(gateway.port);
    held.write(request("POST", `/buy/${ticketFor("fred", SALE)}`, ["Prefer: wait=30"]));
    await until(async () => (await world.client(0).hexists(`{s0}:buyers:${SALE}`, "fred")) === 1, "fred's reservation");
    gateway.child.kill("SIGTERM");
    const answer = await held.answer();
    expect([answer?.status, code(answer), answer?.headers["connection"]]).toEqual([202, "reserved", "close"]);
    await until(() => closes.length === 1 && gateway.exitCode !== undefined, "the gateway to end", 20_000);
    expect([closes, gateway.exitCode]).toEqual([[1012], 0]);
    for (const pid of processes) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    for (const bad of ['"level":60', "unanswered", "answered 500"]) expect(gateway.output).not.toContain(bad);
  });

  it("serves on and says so for a time, before it closes its port; a second signal ends that time", async () => {
    const noticed = await GatewayProgram.start(world, { DOORBUSTER_STOP_NOTICE_MS: "600000", DOORBUSTER_GATEWAY_PROCESSES: "1" });
    await untilServes(noticed);
    const ready = async (): Promise<number | undefined> => (await ask(noticed.port, request("GET", "/readyz")))?.status;
    expect(await ready()).toBe(200);
    const socket = new WebSocket(`ws://127.0.0.1:${noticed.port}/live?ticket=${ticketFor("gail", SALE)}`);
    await new Promise((resolve) => void socket.on("open", resolve));
    const closed = new Promise<number>((resolve) => void socket.on("close", resolve));
    // as where the whole group is told: the process hears it from there and from its primary, which is no second signal
    const [child] = await noticed.processes();
    process.kill(child as number, "SIGTERM");
    noticed.child.kill("SIGTERM");
    await until(async () => (await ready()) === 503, "the notice");
    expect((await noticed.page("/readyz")).status).toBe(503);
    process.kill(child as number, "SIGTERM");
    const bought = await ask(noticed.port, request("POST", `/buy/${ticketFor("gail", SALE)}`));
    expect([bought?.status, bought?.headers["connection"]]).toEqual([202, undefined]);
    expect((await ask(noticed.port, request("GET", "/healthz")))?.status).toBe(200);
    expect(socket.readyState).toBe(WebSocket.OPEN);
    expect(noticed.exitCode).toBeUndefined();
    noticed.child.kill("SIGTERM");
    expect(await closed).toBe(1012);
    await until(() => noticed.exitCode !== undefined, "the gateway to end", 20_000);
    expect(noticed.exitCode).toBe(0);
  });

  it("leaves no process on the port when its primary is killed", async () => {
    const again = await GatewayProgram.start(world, { DOORBUSTER_GATEWAY_PORT: String(gateway.port) });
    await untilServes(again);
    const processes = await again.processes();
    await again.end();
    const isGone = (pid: number): boolean => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    };
    await until(() => processes.every(isGone), "its processes to end", 20_000);
  });

  it("stops also while NATS was never there", async () => {
    const lonely = await GatewayProgram.start(world, { NATS_URL: "127.0.0.1:1" });
    await until(async () => (await lonely.admin("/healthz").catch(() => undefined))?.status === 200, "the admin API", 20_000);
    expect((await lonely.admin("/sales")).status).toBe(503);
    expect((await lonely.page("/readyz")).status).toBe(503);
    await until(async () => (await lonely.processes()).length === 2, "its processes");
    lonely.child.kill("SIGTERM");
    await until(() => lonely.exitCode !== undefined, "the gateway to end", 20_000);
  });
});
