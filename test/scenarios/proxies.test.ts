import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { settled, signal } from "../../deploy/local/index.ts";
import { ticketFor } from "../harness/edge-world.ts";
import { endGateways, GatewayProgram } from "../harness/gateway-program.ts";
import { startGatewayWorld, type GatewayWorld } from "../harness/gateway-world.ts";
import { until } from "../harness/index.ts";
import { findProxy, ProxyKind, startProxy, type Proxy, type ProxyOptions } from "../harness/proxies.ts";
import { ask, request, Wire, type WireAnswer } from "../harness/wire.ts";

const SALE = "proxied";
/** What an address may do at once in these tests; it gets nothing more while they run. */
const BURST = 4;
const found = {
  nginx: await findProxy(ProxyKind.nginx),
  haproxy: await findProxy(ProxyKind.haproxy),
};
for (const [name, proxy] of Object.entries(found))
  if ("why" in proxy) console.warn(`deploy/proxies is not tested with ${name}, which is not here: ${proxy.why}`);

/** The files that ship, and the variant that one of them names. */
const VARIANTS = {
  nginx: { kind: ProxyKind.nginx },
  haproxy: { kind: ProxyKind.haproxy },
  "haproxy by PROXY protocol": {
    kind: ProxyKind.haproxy,
    change: (text: string) => text.replace(/^ *server .*\n/m, "").replace(/^( *)# (server .*)$/m, "$1$2"),
  },
} satisfies Record<string, Pick<ProxyOptions, "kind" | "change">>;
type Variant = keyof typeof VARIANTS;
const variants = (Object.keys(VARIANTS) as Variant[]).filter((name) => "program" in found[VARIANTS[name].kind]);

let world: GatewayWorld;
const proxies = new Map<Variant, Proxy>();
/** All that were started, also those of a test that failed. */
const started: Proxy[] = [];
let idle: Promise<ReadonlyMap<Variant, readonly unknown[]>> | undefined;

const gateway = async (variables: Readonly<Record<string, string>>): Promise<GatewayProgram> => {
  const program = await GatewayProgram.start(world, {
    DOORBUSTER_GATEWAY_PROCESSES: "1",
    DOORBUSTER_TRUSTED_PROXIES: "127.0.0.1",
    ...variables,
  });
  await until(
    async () => (await ask(program.port, request("GET", `/sales/${SALE}`)).catch(() => undefined))?.status === 200,
    "the gateway to serve the sale",
    60_000,
  );
  return program;
};

const before = async (program: GatewayProgram, name: Variant): Promise<Proxy> => {
  const variant = VARIANTS[name];
  const here = found[variant.kind];
  if ("why" in here) throw new Error(here.why);
  const proxy = await startProxy({ ...variant, program: here.program, gatewayPort: program.port });
  started.push(proxy);
  return proxy;
};

/** Each test's buyers and addresses are its own: an address is used up soon. */
let buyers = 0;
let addresses = 1;
const newBuyer = (): string => `buyer-${++buyers}`;
const newAddress = (): string => `127.0.${Math.floor(++addresses / 250)}.${(addresses % 250) + 1}`;

const PARTED = 505;
const MOST_PARTED = 30;

/**
 * uWebSockets.js's binary for Node 20 answers 505, and has run nothing, where haproxy's PROXY header and the request come in two
 * packets (deploy/PROXIES.md): there, and only there, one asks again.
 */
const through = async (name: Variant, text: string, from?: string): Promise<WireAnswer | undefined> => {
  const { port } = proxies.get(name) as Proxy;
  for (let n = 1; ; n++) {
    const answer = await ask(port, text, false, from);
    if (answer?.status !== PARTED || name !== "haproxy by PROXY protocol" || n === MOST_PARTED) return answer;
  }
};

const codeOf = (answer: WireAnswer | undefined): unknown => (JSON.parse(answer?.body ?? "{}") as { code?: unknown }).code;
const buyFrom = (name: Variant, from: string, headers: readonly string[] = [], uid = newBuyer()): Promise<WireAnswer | undefined> =>
  through(name, request("POST", `/buy/${ticketFor(uid, SALE)}`, headers), from);

/** An open socket that buys, and what it hears. */
const socketFrom = async (name: Variant): Promise<{ readonly frames: readonly unknown[]; readonly end: () => void }> => {
  const { port } = proxies.get(name) as Proxy;
  for (let n = 1; ; n++) {
    const frames: unknown[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${port}/live?ticket=${ticketFor(newBuyer(), SALE)}`, { localAddress: newAddress() });
    socket.on("message", (data: Buffer) => frames.push(JSON.parse(data.toString())));
    const refused = await new Promise<string | undefined>((resolve) => {
      socket.on("open", () => resolve(undefined)).on("error", ({ message }) => resolve(message));
    });
    if (refused === undefined) {
      socket.send('{"op":"buy","ref":1}');
      return { frames, end: () => socket.terminate() };
    }
    if (!refused.includes(String(PARTED)) || name !== "haproxy by PROXY protocol" || n === MOST_PARTED) throw new Error(refused);
  }
};

/** Connections that a server on this port has open. */
const established = async (port: number): Promise<number> => {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = (await readFile("/proc/net/tcp", "utf8")).split("\n").map((row) => row.trim().split(/\s+/));
  return rows.filter((row) => row[1] === local && row[3] === "01").length;
};

const CROWD = 60;
/** The gateway closes idle connections 8 to 12 s after their last answer. */
const BEFORE_CLOSE_MS = 7_500;

/**
 * A crowd comes twice, the second time in the moment in which the gateway closes what the first has left idle: the proxy is
 * paused, so that it gets the crowd and the closes together. @returns what each heard the second time
 */
const comesAtTheClose = async (program: GatewayProgram, proxy: Proxy): Promise<readonly unknown[]> => {
  let wires = await Promise.all(Array.from({ length: CROWD }, () => Wire.open(proxy.port)));
  const send = (headers: readonly string[]): void => {
    for (const wire of wires) wire.write(request("POST", `/buy/${ticketFor(newBuyer(), SALE)}`, headers));
  };
  // Held, so that each needs a connection of its own; twice, because haproxy trusts a connection that has been used again.
  for (let round = 0; round < 2; round++) {
    send(["Prefer: wait=1"]);
    for (const wire of wires) await wire.answer();
  }
  const idleFrom = performance.now();
  await until(() => performance.now() - idleFrom > BEFORE_CLOSE_MS, "the connections to be old", 20_000);
  const pids = await proxy.pids();
  for (const pid of pids) signal(pid, "SIGSTOP");
  // Who was closed comes anew, as browsers do.
  wires = await Promise.all(wires.map(async (wire) => (wire.isClosed ? Wire.open(proxy.port) : wire)));
  send([]);
  try {
    await until(async () => (await established(program.port)) === 0, "the gateway to close what is idle", 20_000);
  } finally {
    for (const pid of pids) signal(pid, "SIGCONT");
  }
  const answers = await Promise.all(wires.map((wire) => wire.answer()));
  for (const wire of wires) wire.destroy();
  return answers.map((answer) => answer?.status);
};

/** Each behind a gateway of its own, because the connections of that one are counted. */
const allComeAtTheClose = async (): Promise<ReadonlyMap<Variant, readonly unknown[]>> => {
  const heard = new Map<Variant, readonly unknown[]>();
  await settled(
    variants.map(async (name) => {
      const program = await gateway({ DOORBUSTER_ADDRESS_RATE: "0" });
      const proxy = await before(program, name);
      heard.set(name, await comesAtTheClose(program, proxy));
    }),
  );
  return heard;
};

beforeAll(async () => {
  world = await startGatewayWorld();
  await world.connection.jetstream().views.kv("sales");
  await world.openSale({ id: SALE }, 10_000);
  idle = allComeAtTheClose();
  idle.catch(() => undefined);
  const program = await gateway({ DOORBUSTER_ADDRESS_RATE: "0.001", DOORBUSTER_ADDRESS_BURST: String(BURST) });
  await settled(variants.map(async (name) => void proxies.set(name, await before(program, name))));
});
afterAll(async () => {
  await idle?.catch(() => undefined);
  await Promise.all(started.map((proxy) => proxy.stop()));
  await endGateways();
  await world.stop();
});

describe.each(variants)("behind %s", (name) => {
  it("an answer is held, a socket buys and hears of its order", async () => {
    const holder = newBuyer();
    const held = buyFrom(name, newAddress(), ["Prefer: wait=20"], holder);
    await until(async () => (await world.client(0).hexists(`{s0}:buyers:${SALE}`, holder)) === 1, "the reservation");
    const { frames, end } = await socketFrom(name);
    await until(() => frames.length > 0, "the outcome on the socket");
    expect(frames[0]).toMatchObject({ op: "outcome", code: "reserved" });
    await until(async () => {
      await world.apply(0);
      return frames.length > 1;
    }, "the push");
    expect(frames[1]).toMatchObject({ op: "status", code: "confirmed" });
    const answer = await held;
    expect([answer?.status, codeOf(answer)]).toEqual([201, "confirmed"]);
    end();
  });

  it("each buyer has a bucket of his own address, whatever he writes into the headers", async () => {
    const [greedy, other] = [newAddress(), newAddress()];
    const codes: unknown[] = [];
    for (let n = 0; n <= BURST; n++)
      codes.push(
        codeOf(await buyFrom(name, greedy, [`X-Forwarded-For: 9.9.9.${n}`, `X-Real-IP: 9.9.9.${n}`, `Forwarded: for=9.9.9.${n}`])),
      );
    expect(codes).toEqual([...Array<string>(BURST).fill("reserved"), "rate_limited"]);
    expect(codeOf(await buyFrom(name, other))).toBe("reserved");
  });

  it("refusals and failures go through, and nobody is taken out for them", async () => {
    const invalid = await Promise.all(Array.from({ length: 20 }, () => through(name, request("POST", "/buy/nonsense"))));
    expect(invalid.map((answer) => answer?.status)).toEqual(Array(20).fill(401));
    // nobody answers the gateway whether there is such a sale
    const silent = await Promise.all(Array.from({ length: 20 }, () => through(name, request("GET", "/sales/nobody-knows"), newAddress())));
    expect(silent.map((answer) => `${answer?.status} ${String(codeOf(answer))}`)).toEqual(Array(20).fill("503 recovering"));
    const after = await Promise.all(Array.from({ length: 20 }, () => buyFrom(name, newAddress())));
    expect(after.map((answer) => answer?.status)).toEqual(Array(20).fill(202));
  });

  it("only what may be cached is cached, and by its validator", async () => {
    const [uid, from] = [newBuyer(), newAddress()];
    const standing = async (): Promise<unknown> =>
      codeOf(await through(name, request("GET", `/buy/${ticketFor(uid, SALE, EXPIRES_AT_MS)}`), from));
    expect(await standing()).toBe("none");
    await buyFrom(name, from, [], uid);
    expect(await standing()).toBe("reserved");
    const sale = await through(name, request("GET", `/sales/${SALE}`));
    const again = await through(name, request("GET", `/sales/${SALE}`, [`If-None-Match: ${sale?.headers["etag"]}`]));
    expect([sale?.status, again?.status, again?.body]).toEqual([200, 304, ""]);
  });

  it("a body above its bound is refused by the gateway, readably", async () => {
    const answer = await through(name, request("POST", `/buy/${ticketFor(newBuyer(), SALE)}`, [], " ".repeat(2_000)));
    expect([answer?.status, codeOf(answer)]).toEqual([413, "too_large"]);
  });

  it("a crowd that comes when the gateway closes idle connections is served", async () => {
    const heard: Record<string, number> = {};
    for (const status of (await idle)?.get(name) ?? []) heard[String(status)] = (heard[String(status)] ?? 0) + 1;
    if (name === "haproxy by PROXY protocol" && heard[PARTED] !== undefined) {
      heard["202"] = (heard["202"] ?? 0) + heard[PARTED];
      delete heard[PARTED];
    }
    expect(heard).toEqual({ 202: CROWD });
  });
});

/** The same ticket twice, so that a cache could answer. */
const EXPIRES_AT_MS = Date.now() + 600_000;

it.skipIf(variants.length === 0)("the gateway has no doubt about whose requests came through them", async () => {
  // the proxies' own checks of /readyz forward nothing and are no buyers
  const [program] = [...proxies.values()];
  const ready = await ask((program as Proxy).port, request("GET", "/readyz"));
  expect(JSON.parse(ready?.body ?? "")).toEqual({ status: "ready" });
});
