import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, FaultNet, FaultProxy, until, type Trouble } from "../harness/index.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";
import { Stimulus } from "./points.ts";
import { stimuli } from "./stimuli.ts";

/**
 * Trouble on the wire between each program and each store that it uses, in the middle of a sale. `npm run test:crash`
 * makes each kind between each pair, `npm test` one kind each.
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";

let net: FaultNet;
let world: CrashWorld;
/** In front of what speaks HTTP with us: the gateway, the coordinator's message API, and the services that it calls. */
const fronts = new Map<string, FaultProxy>();
const front = async (name: string, url: string): Promise<string> => {
  const proxy = await FaultProxy.open(Number(new URL(url).port));
  fronts.set(name, proxy);
  return new URL(proxy.through(url)).origin;
};
beforeAll(async () => {
  net = new FaultNet();
  world = await CrashWorld.start({ route: net.route });
  const { gateway, coordinator } = await world.stack.info();
  world.comeBy(await front("buyers:gateway", gateway));
  world.coordinator = await front("services:coordinator", coordinator);
  world.services.reachedBy(await front("coordinator:services", world.services.url));
}, 180_000);
afterAll(async () => {
  await world?.close();
  await net?.close();
  for (const proxy of fronts.values()) await proxy.close();
});

let number = 0;
const openSale = (): Promise<LiveSale> => LiveSale.open(world, `net-${number++}`);

/** Of both shards: whichever the sale lives on. */
const PAIRS = [
  "gateway:redis",
  "coordinator:redis",
  "workers:redis",
  "gateway:nats",
  "coordinator:nats",
  "workers:nats",
  "workers:postgres",
] as const;

const between = (pair: string): readonly FaultProxy[] => net.pairs.filter((name) => name.startsWith(pair)).map((name) => net.proxy(name));

const REQUESTS: readonly (readonly [store: string, request: RegExp])[] = [
  ["redis", /evalsha/i],
  ["nats", /^H?PUB /m],
  ["postgres", /commit/i],
];

/** Long enough for time-outs, leases (3 s) and the permission to sell (5 s) to end meanwhile: buyers tell how long. */
const ASKED_MEANWHILE = 120;

const troubles: readonly Trouble[] = [
  { kind: "delay", ms: 150 },
  { kind: "drip", bytes: 32, everyMs: 1 },
  { kind: "hold" },
  { kind: "blackHole" },
  { kind: "halfOpen" },
  { kind: "refuse" },
];

const rows = PAIRS.flatMap((pair, n) =>
  troubles.filter((_, kind) => isWhole || (n < 2 && kind === (n === 0 ? 3 : 4))).map((trouble) => [trouble.kind, pair, trouble] as const),
);

describe("trouble between a program and a store", { timeout: 240_000 }, () => {
  it.each(rows)("%s between %s", async (_kind, pair, trouble) => {
    const sale = await openSale();
    for (const proxy of between(pair)) proxy.set(trouble);
    const upto = sale.counts.requests + ASKED_MEANWHILE;
    await until(() => sale.counts.requests >= upto, "buyers to ask meanwhile", 60_000);
    net.heal();
    expect(await sale.end()).toEqual([]);
  });

  it.each(troubles.filter(({ kind }) => isWhole || kind === "halfOpen").map((trouble) => [trouble.kind, trouble] as const))(
    "%s between buyers and the gateway: silence is not an answer, and the next one is true",
    async (_kind, trouble) => {
      const sale = await openSale();
      const proxy = fronts.get("buyers:gateway") as FaultProxy;
      proxy.set(trouble);
      const upto = sale.counts.requests + ASKED_MEANWHILE;
      await until(() => sale.counts.requests >= upto, "buyers to ask meanwhile", 120_000);
      proxy.set({ kind: "pass" });
      expect(await sale.end()).toEqual([]);
    },
  );

  it
    .runIf(isWhole)
    .each(
      ["services:coordinator", "coordinator:services"].flatMap((pair) => troubles.map((trouble) => [trouble.kind, pair, trouble] as const)),
    )("%s between %s: every message that was submitted is delivered, none that was not", async (_kind, pair, trouble) => {
    const sale = await openSale();
    const proxy = fronts.get(pair) as FaultProxy;
    const over = new AbortController();
    const sending = stimuli[Stimulus.message]({ world, sale, reached: over.signal });
    await until(() => world.services.received.some(({ query }) => query["gid"]?.startsWith(sale.id)), "messages to be delivered", 60_000);
    proxy.set(trouble);
    const upto = sale.counts.requests + ASKED_MEANWHILE;
    await until(() => sale.counts.requests >= upto, "buyers to ask meanwhile", 120_000);
    proxy.set({ kind: "pass" });
    over.abort();
    const sequel = await sending;
    expect(await sale.end()).toEqual([]);
    expect(await sequel()).toEqual([]);
  });

  it.each(PAIRS.filter((pair) => isWhole || pair === "workers:nats").map((pair) => [pair] as const))(
    "connections are cut three times between %s",
    async (pair) => {
      const sale = await openSale();
      for (let turn = 0; turn < 3; turn += 1) {
        const upto = sale.crowd.purchases.length + 15;
        for (const proxy of between(pair)) proxy.cut();
        await until(() => sale.crowd.purchases.length >= upto, "buyers to come meanwhile", 60_000);
      }
      expect(await sale.end()).toEqual([]);
    },
  );
});

describe("a request was executed and its answer is lost", { timeout: 240_000 }, () => {
  const pairs = PAIRS.filter((pair) => isWhole || pair === "workers:postgres");

  it("five times between buyers and the gateway", async () => {
    const sale = await openSale();
    const proxy = fronts.get("buyers:gateway") as FaultProxy;
    for (let turn = 0; turn < 5; turn += 1)
      expect(await proxy.loseAnswer((bytes) => bytes.toString("latin1").startsWith("POST /buy/"))).toBe(true);
    expect(await sale.end()).toEqual([]);
  });

  it.each(pairs.map((pair) => [pair] as const))("five times between %s", async (pair) => {
    const sale = await openSale();
    const [, request] = REQUESTS.find(([store]) => pair.endsWith(store)) as (typeof REQUESTS)[number];
    for (let turn = 0; turn < 5; turn += 1) {
      const losses = between(pair).map((proxy) => proxy.loseAnswer((bytes) => request.test(bytes.toString("latin1"))));
      expect(await Promise.race(losses)).toBe(true);
      net.heal();
    }
    expect(await sale.end()).toEqual([]);
  });
});
