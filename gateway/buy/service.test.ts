// Over 400 lines: all of the service's promises on one world of real servers; a second file would start them again.
import * as fc from "fast-check";
import type { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../test/harness/index.ts";
import { gatewayService } from "../../test/harness/gateway-service.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import { signTicket, ticketKeys } from "../identity/ticket.ts";
import type { StoreOptions } from "../open.ts";
import type { Outcome } from "./outcome.ts";
import type { BuyService } from "./service.ts";

const keys = ticketKeys([{ id: "k1", secret: "a secret of the test" }]);
const ticketOf = (saleId: string, uid: string, expiresAtMs = Date.now() + 600_000): string =>
  signTicket(keys, { saleId, uid, expiresAtMs });

let world: GatewayWorld;
const services: BuyService[] = [];

const serviceOf = async (config: Partial<StoreOptions["config"]> = {}, of = world): Promise<BuyService & { registry: Registry }> => {
  const service = gatewayService(of, keys, { config });
  services.push(service);
  await until(() => service.isReady(), "the service is ready");
  // Ready is said when one shard can be asked; the tests ask both.
  for (const probe of ["probe-0", "probe-1"])
    await until(async () => (await standing(service, probe, "nobody")).code === "none", `${probe} can be asked`);
  return service;
};

/** With the answer's time of arrival left out, and a count of answers, because each must come exactly once. */
const buy = (service: BuyService, ticket: string, { address = "", units = 1, key = "" } = {}): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    let answers = 0;
    service.buy({ ticket, address, units, key }, (outcome) => {
      answers += 1;
      if (answers > 1) reject(new Error(`answered twice, the second time ${outcome.code}`));
      // Twice in one tick would be seen before the promise is looked at.
      queueMicrotask(() => resolve(outcome));
    });
  });
const buyAll = (service: BuyService, saleId: string, uids: readonly string[]): Promise<Outcome[]> =>
  Promise.all(uids.map((uid) => buy(service, ticketOf(saleId, uid))));
const waitFinal = (service: BuyService, sale: string, uid: string, orderId: string | undefined, key = ""): Promise<Outcome> =>
  new Promise((resolve) => service.waitFinal(ticketOf(sale, uid), key, orderId ?? "", resolve));
const standing = (service: BuyService, saleId: string, uid: string, key = ""): Promise<Outcome> =>
  new Promise((resolve) => service.standing({ ticket: ticketOf(saleId, uid), address: "", key }, resolve));
const uidsOf = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `u${from + i}`);
const tally = (outcomes: readonly Outcome[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { code } of outcomes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
};
const known = (service: BuyService, saleId: string): Promise<void> =>
  until(() => service.saleView(saleId) !== undefined, `${saleId} is known`);

/** The answer if it comes in the same tick, "later" otherwise. */
const codeAtOnce = (service: BuyService, ticket: string): string => {
  let code = "later";
  service.buy({ ticket, address: "", units: 1, key: "" }, (outcome) => (code = outcome.code));
  return code;
};

/** The answer to this ticket's purchase before anything is made for it must be the one that the purchase gets. */
const refusedAtOnce = (service: BuyService, ticket: string): string => {
  const before = service.refusal(ticket);
  const code = codeAtOnce(service, ticket);
  expect(before?.code ?? code).toBe(code);
  return before?.code ?? "asked further";
};

let sales = 0;
const openSale = async (units: number, sale: Partial<Parameters<GatewayWorld["openSale"]>[0]> = {}): Promise<string> => {
  const id = `sale-${++sales}`;
  await world.openSale({ id, ...sale }, units);
  return id;
};

beforeAll(async () => {
  world = await startGatewayWorld(2);
  for (const shard of [0, 1]) await world.openSale({ id: `probe-${shard}`, shards: [shard] }, 0);
});
afterEach(async () => {
  await Promise.all(services.splice(0).map((service) => service.drain()));
  world.flags = [];
});
afterAll(() => world.stop());

describe("a purchase", () => {
  it("sells exactly the stock, and a winner's repeat is the first answer, also of the last unit", async () => {
    const sale = await openSale(100);
    const service = await serviceOf();
    await known(service, sale);
    const first = await buyAll(service, sale, uidsOf(1_000));
    expect(tally(first)).toEqual({ reserved: 100, sold_out: 900 });
    const again = await buyAll(service, sale, uidsOf(1_000));
    expect(again.map(({ code, orderId }) => ({ code, orderId }))).toEqual(first.map(({ code, orderId }) => ({ code, orderId })));
    expect(new Set(first.map((outcome) => outcome.orderId).filter(Boolean)).size).toBe(100);
  });

  it("1,000 parallel first requests of one buyer: one win, 999 times the same answer", async () => {
    const sale = await openSale(10);
    const service = await serviceOf();
    await known(service, sale);
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => buy(service, ticketOf(sale, "one"))));
    expect(tally(outcomes)).toEqual({ reserved: 1_000 });
    expect(new Set(outcomes.map((outcome) => outcome.orderId)).size).toBe(1);
    expect(outcomes.filter((outcome) => outcome.repeat !== true)).toHaveLength(1);
    expect(await world.client(0).hlen(`{s0}:buyers:${sale}`)).toBe(1);
  });

  it("is confirmed in its repeat and in GET once it is applied", async () => {
    const sale = await openSale(1);
    const service = await serviceOf();
    await known(service, sale);
    const { orderId } = await buy(service, ticketOf(sale, "a"));
    expect(await standing(service, sale, "a")).toMatchObject({ code: "reserved", orderId, units: 1 });
    await world.apply(0);
    expect(await buy(service, ticketOf(sale, "a"))).toEqual({ code: "confirmed", orderId, units: 1, repeat: true });
    expect(await standing(service, sale, "a")).toMatchObject({ code: "confirmed", orderId });
    expect(await standing(service, sale, "b")).toMatchObject({ code: "none" });
  });

  it("keeps two sales on one shard apart", async () => {
    const [a, b] = [await openSale(50), await openSale(70)];
    const service = await serviceOf();
    await known(service, b);
    const [ofA, ofB] = await Promise.all([buyAll(service, a, uidsOf(300)), buyAll(service, b, uidsOf(300))]);
    expect(tally(ofA)).toEqual({ reserved: 50, sold_out: 250 });
    expect(tally(ofB)).toEqual({ reserved: 70, sold_out: 230 });
  });

  it("with a limit above one: keys are purchases, all units or none, never sold out while a unit is left", async () => {
    const sale = await openSale(3, { limitPerBuyer: 2 });
    const service = await serviceOf();
    await known(service, sale);
    expect(await buy(service, ticketOf(sale, "a"), { units: 2, key: "k1" })).toMatchObject({ code: "reserved", units: 2 });
    expect(await buy(service, ticketOf(sale, "a"), { units: 1, key: "k2" })).toMatchObject({ code: "limit_reached" });
    expect(await buy(service, ticketOf(sale, "b"), { units: 2, key: "k1" })).toMatchObject({ code: "units_moving" });
    expect(await buy(service, ticketOf(sale, "b"), { units: 1, key: "k2" })).toMatchObject({ code: "reserved", units: 1 });
    expect(await buy(service, ticketOf(sale, "c"), { units: 2 })).toMatchObject({ code: "sold_out" });
    expect(await buy(service, ticketOf(sale, "a"), { units: 2, key: "k1" })).toMatchObject({ code: "reserved", units: 2, repeat: true });
  });

  it("where the limit is 1, whatever a buyer calls it is the same purchase: repeated, looked up, waited for", async () => {
    const sale = await openSale(2, { shards: [1] });
    const service = await serviceOf();
    await known(service, sale);
    const first = await buy(service, ticketOf(sale, "a"), { key: "k1" });
    expect(first).toMatchObject({ code: "reserved", units: 1 });
    const { orderId } = first;
    for (const key of ["k1", "k2", ""])
      expect(await buy(service, ticketOf(sale, "a"), { key })).toMatchObject({ code: "reserved", orderId, repeat: true });
    expect(await buy(service, ticketOf(sale, "b"))).toMatchObject({ code: "reserved" });
    expect(await buy(service, ticketOf(sale, "b"), { key: "k1" })).toMatchObject({ code: "reserved", repeat: true });
    expect(await buy(service, ticketOf(sale, "c"), { key: "k1" })).toMatchObject({ code: "sold_out" });
    expect(await standing(service, sale, "a", "k3")).toMatchObject({ code: "reserved", orderId });
    const pushes: Outcome[] = [];
    service.watchBuyer(sale, "a", (outcome) => pushes.push(outcome));
    const final = waitFinal(service, sale, "a", orderId, "k4");
    await world.apply(1);
    expect(await final).toMatchObject({ code: "confirmed", orderId });
    expect(pushes).toMatchObject([{ code: "confirmed", orderId }]);
    expect(await buy(service, ticketOf(sale, "a"), { key: "k5" })).toMatchObject({ code: "confirmed", orderId });
  });

  it("where the limit is 1, a key means nothing to a process either that has not heard of the sale", async () => {
    const service = await serviceOf();
    const record = await world.stockSale({ id: "late-with-key" }, 1);
    const silence = world.answerSales([record]);
    const won = await buy(service, ticketOf(record.id, "a"), { key: "k1" });
    expect(won).toMatchObject({ code: "reserved" });
    expect(await buy(service, ticketOf(record.id, "a"))).toMatchObject({ code: "reserved", orderId: won.orderId, repeat: true });
    silence();
  });

  it("on a dry shard of a sale on two is units_moving, never sold_out", async () => {
    const sale = await openSale(5, { shards: [0, 1] });
    const service = await serviceOf();
    await known(service, sale);
    expect(tally(await buyAll(service, sale, uidsOf(200)))).toEqual({ reserved: 10, units_moving: 190 });
  });
});

describe("any crowd", () => {
  it("of any stock, limit, units and repeats: never more than the stock, never above a limit, repeats are first answers", async () => {
    const service = await serviceOf();
    const purchase = fc.record({
      uid: fc.integer({ min: 0, max: 9 }),
      key: fc.integer({ min: 0, max: 2 }),
      units: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(purchase, { minLength: 1, maxLength: 80 }),
        async (stock, limit, crowd) => {
          const sale = await openSale(stock, { limitPerBuyer: limit });
          await known(service, sale);
          const send = (): Promise<Outcome[]> =>
            Promise.all(
              crowd.map(({ uid, key, units }) =>
                buy(service, ticketOf(sale, `u${uid}`), limit === 1 ? { key: `k${key}` } : { units, key: `k${key}` }),
              ),
            );
          const first = await send();
          const again = await send();
          const held = new Map<string, { uid: number; units: number }>();
          for (const [i, outcome] of [...first, ...again].entries()) {
            if (outcome.code !== "reserved") continue;
            held.set(outcome.orderId ?? "", { uid: crowd[i % crowd.length]?.uid ?? -1, units: outcome.units ?? 0 });
          }
          let sold = 0;
          const ofBuyer = new Map<number, number>();
          for (const { uid, units } of held.values()) {
            sold += units;
            ofBuyer.set(uid, (ofBuyer.get(uid) ?? 0) + units);
          }
          expect(sold).toBeLessThanOrEqual(stock);
          expect(Math.max(0, ...ofBuyer.values())).toBeLessThanOrEqual(limit);
          if (stock > 0) expect(Number(await world.client(0).hget(`{s0}:sale:${sale}`, "left"))).toBe(stock - sold);
          first.forEach((outcome, i) => {
            if (outcome.code === "reserved") expect(again[i]).toMatchObject({ code: "reserved", orderId: outcome.orderId, repeat: true });
            if (outcome.code === "sold_out") expect(sold).toBe(stock);
          });
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("the order of checks", () => {
  it("tells each refusal by its code", async () => {
    const opensAtMs = Date.now() + 3_600_000;
    const early = await openSale(1, { opensAtMs, closesAtMs: opensAtMs + 1_000 });
    const late = await openSale(1, { opensAtMs: 1_000, closesAtMs: 2_000 });
    const paused = await openSale(1, { state: "paused" });
    const unstocked = await openSale(0);
    const service = await serviceOf();
    await known(service, unstocked);
    const good = ticketOf(paused, "a");
    expect(await buy(service, "not a ticket")).toMatchObject({ code: "ticket_invalid" });
    const silence = world.answerSales([]);
    expect(await buy(service, ticketOf("nowhere", "a"))).toMatchObject({ code: "sale_unknown" });
    silence();
    expect(await buy(service, ticketOf(early, "a"))).toMatchObject({ code: "not_open", opensAtMs });
    expect(refusedAtOnce(service, ticketOf(early, "a"))).toBe("not_open");
    expect(refusedAtOnce(service, "nonsense")).toBe("ticket_invalid");
    expect(service.refusal(ticketOf("nowhere", "a"))).toBeUndefined();
    expect((await buy(service, ticketOf(early, "a"))).retryAfterMs).toBeGreaterThan(3_500_000);
    expect(await buy(service, ticketOf(late, "a"))).toMatchObject({ code: "closed" });
    expect(await buy(service, good)).toMatchObject({ code: "paused" });
    expect(await buy(service, ticketOf(unstocked, "a"))).toMatchObject({ code: "units_moving" });
    expect(await buy(service, `${good.slice(0, -1)}${good.endsWith("A") ? "B" : "A"}`)).toMatchObject({ code: "ticket_invalid" });
    expect(await buy(service, ticketOf(paused, "a", Date.now() - 1))).toMatchObject({ code: "ticket_expired" });
    expect(await buy(service, good, { units: 0 })).toMatchObject({ code: "bad_request" });
    expect(await buy(service, good, { units: 1.5 })).toMatchObject({ code: "bad_request" });
    expect(await buy(service, good, { key: "a b" })).toMatchObject({ code: "bad_request" });
    expect(await buy(service, good, { units: 2 })).toEqual({
      code: "bad_request",
      detail: "units: at most 1, the limit of a buyer in this sale",
    });
  });

  it("a sale that has not reached this process is looked for: a winner at another process hears the first answer", async () => {
    const [early, late] = [await serviceOf(), await serviceOf()];
    const record = await world.stockSale({ id: "late-bucket" }, 1);
    const silence = world.answerSales([record]);
    const won = await buy(early, ticketOf(record.id, "a"));
    expect(won).toMatchObject({ code: "reserved" });
    expect(late.saleView(record.id)).toBeUndefined();
    expect(await Promise.all([buy(late, ticketOf(record.id, "a")), buy(late, ticketOf(record.id, "b"))])).toMatchObject([
      { code: "reserved", orderId: won.orderId },
      { code: "sold_out" },
    ]);
    silence();
  });

  it("who only looks finds a sale that has not reached this process, and hears of none only from the truth", async () => {
    const service = await serviceOf();
    const record = await world.stockSale({ id: "looked-for" }, 1);
    const find = (saleId: string): Promise<string> => new Promise((resolve) => service.findSale(saleId, resolve));
    expect(await find(record.id)).toBe("silence");
    const silence = world.answerSales([record]);
    expect(await Promise.all([find(record.id), find("nowhere")])).toEqual(["found", "none"]);
    expect(service.saleView(record.id)?.record).toEqual(record);
    silence();
  });

  it("a standing looks for an unknown sale too, and where nobody can say, nobody is told that there is none", async () => {
    const service = await serviceOf();
    const record = await world.stockSale({ id: "later-bucket" }, 1);
    const forged = `${ticketOf(record.id, "a").slice(0, -4)}AAAA`;
    expect(await buy(service, ticketOf(record.id, "a"))).toMatchObject({ code: "recovering" });
    expect(await standing(service, record.id, "a")).toMatchObject({ code: "recovering" });
    expect(await buy(service, forged)).toMatchObject({ code: "ticket_invalid" });
    const silence = world.answerSales([record]);
    expect(await standing(service, record.id, "a")).toMatchObject({ code: "none" });
    expect(await standing(service, "nowhere", "a")).toMatchObject({ code: "sale_unknown" });
    silence();
  });

  it("a repeat in a closed or paused sale is still the first answer", async () => {
    const sale = await openSale(1);
    const service = await serviceOf();
    await known(service, sale);
    const { orderId } = await buy(service, ticketOf(sale, "a"));
    const record = service.saleView(sale)?.record;
    if (record === undefined) throw new Error("no record");
    for (const [version, state] of [
      [2, "paused"],
      [3, "closed"],
    ] as const) {
      await world.define({ ...record, state, version }, 0, 1);
      await world.putRecord({ ...record, state, version });
      await until(() => service.saleView(sale)?.record.state === state, `the sale is ${state}`);
      expect(await buy(service, ticketOf(sale, "a"))).toMatchObject({ code: "reserved", orderId });
      expect(await buy(service, ticketOf(sale, "b"))).toMatchObject({ code: state });
    }
  });

  it("an opening that is put off holds although somebody was let in before", async () => {
    const sale = await openSale(0);
    const service = await serviceOf();
    await known(service, sale);
    expect(await buy(service, ticketOf(sale, "a"))).toMatchObject({ code: "units_moving" });
    const record = service.saleView(sale)?.record;
    if (record === undefined) throw new Error("no record");
    const opensAtMs = Date.now() + 60_000;
    await world.putRecord({ ...record, opensAtMs, version: 2 });
    await until(() => service.saleView(sale)?.record.opensAtMs === opensAtMs, "the opening is put off");
    expect(codeAtOnce(service, ticketOf(sale, "a"))).toBe("not_open");
  });

  it("forged tickets take nothing from the bucket of the buyer they name; the buyer's own requests do", async () => {
    const sale = await openSale(1);
    const service = await serviceOf({ DOORBUSTER_BUYER_RATE: 0.001, DOORBUSTER_BUYER_BURST: 2 });
    await known(service, sale);
    const good = ticketOf(sale, "victim");
    const forged = `${good.slice(0, -4)}AAAA`;
    for (let i = 0; i < 50; i++) expect(await buy(service, forged)).toMatchObject({ code: "ticket_invalid" });
    expect(await buy(service, good)).toMatchObject({ code: "reserved" });
    expect(await buy(service, good)).toMatchObject({ code: "reserved", repeat: true });
    expect(await buy(service, good)).toMatchObject({ code: "rate_limited", retryAfterMs: 60_000 });
    expect(refusedAtOnce(service, good)).toBe("rate_limited");
    expect(refusedAtOnce(service, ticketOf(sale, "other"))).toBe("asked further");
    // Drained: now even a forged one is refused before its signature is looked at.
    expect(await buy(service, forged)).toMatchObject({ code: "rate_limited" });
  });

  it("forged tickets drain the address they come from", async () => {
    const sale = await openSale(1);
    const service = await serviceOf({ DOORBUSTER_ADDRESS_RATE: 0.001, DOORBUSTER_ADDRESS_BURST: 3 });
    await known(service, sale);
    const address = "c0a80002";
    const forged = `${ticketOf(sale, "victim").slice(0, -4)}AAAA`;
    const codes = await Promise.all(uidsOf(5).map(() => buy(service, forged, { address })));
    expect(tally(codes)).toEqual({ ticket_invalid: 3, rate_limited: 2 });
    expect(await buy(service, ticketOf(sale, "victim"), { address: "c0a80003" })).toMatchObject({ code: "reserved" });
  });

  it("a buyer in two sales at once shares his limit between them; what he looks at is counted apart", async () => {
    const [one, two] = [await openSale(5), await openSale(5)];
    const service = await serviceOf({
      DOORBUSTER_BUYER_RATE: 0.001,
      DOORBUSTER_BUYER_BURST: 2,
      DOORBUSTER_READ_RATE: 0.001,
      DOORBUSTER_READ_BURST: 3,
    });
    await Promise.all([known(service, one), known(service, two)]);
    const bought = [];
    for (const sale of [one, two, one, two]) bought.push((await buy(service, ticketOf(sale, "a"))).code);
    expect(bought).toEqual(["reserved", "reserved", "rate_limited", "rate_limited"]);
    const seen = [];
    for (const sale of [one, two, one, two]) seen.push((await standing(service, sale, "a")).code);
    expect(seen).toEqual(["reserved", "reserved", "reserved", "rate_limited"]);
    expect(await standing(service, two, "a")).toEqual({ code: "rate_limited", retryAfterMs: 60_000 });
    expect(await standing(service, two, "b")).toEqual({ code: "none" });
  });

  it("reads of a sale are counted to their address above the ceiling, searches always", async () => {
    const sale = await openSale(1);
    const service = await serviceOf({ DOORBUSTER_READ_CEILING: 0.001, DOORBUSTER_ADDRESS_RATE: 0.001, DOORBUSTER_ADDRESS_BURST: 2 });
    await known(service, sale);
    const reads = (address: string): (string | undefined)[] => [1, 2, 3].map(() => service.readRefusal({ address })?.code);
    expect(service.readRefusal({ address: "c0a80001" })).toBeUndefined();
    expect(reads("c0a80001")).toEqual([undefined, undefined, "rate_limited"]);
    expect(reads("")).toEqual(Array(3).fill(undefined));
    expect([1, 2, 3].map(() => service.searchRefusal({ address: "c0a80002" })?.code)).toEqual([undefined, undefined, "rate_limited"]);
  });

  it("an address is limited over its buyers, an exempt one is not", async () => {
    const sale = await openSale(1);
    const service = await serviceOf({ DOORBUSTER_ADDRESS_RATE: 0.001, DOORBUSTER_ADDRESS_BURST: 3 });
    await known(service, sale);
    const codes = await Promise.all(uidsOf(5).map((uid) => buy(service, ticketOf(sale, uid), { address: "c0a80001" })));
    expect(tally(codes)).toEqual({ reserved: 1, sold_out: 2, rate_limited: 2 });
    expect(tally(await buyAll(service, sale, uidsOf(5, 10)))).toEqual({ sold_out: 5 });
  });
});

describe("waiting and watching", () => {
  it("ends with the status event that names the order, confirmed or rejected", async () => {
    const sale = await openSale(2, { shards: [1], limitPerBuyer: 3 });
    const service = await serviceOf();
    await known(service, sale);
    const a = await buy(service, ticketOf(sale, "a"), { key: "k" });
    const b = await buy(service, ticketOf(sale, "b"));
    const ends = Promise.all([waitFinal(service, sale, "a", a.orderId, "k"), waitFinal(service, sale, "b", b.orderId)]);
    await world.apply(1, { rejected: [[b.orderId ?? "", "quota"]] });
    expect(await ends).toEqual([
      { code: "confirmed", orderId: a.orderId, units: 1 },
      { code: "rejected", orderId: b.orderId, units: 1, reason: "quota" },
    ]);
  });

  it("ends although every event was lost, and although a later event skips the order", async () => {
    const sale = await openSale(3);
    const service = await serviceOf();
    await known(service, sale);
    const a = await buy(service, ticketOf(sale, "a"));
    const lost = waitFinal(service, sale, "a", a.orderId);
    await world.apply(0, { say: false });
    expect(await lost).toMatchObject({ code: "confirmed", orderId: a.orderId });

    const b = await buy(service, ticketOf(sale, "b"));
    const skipped = waitFinal(service, sale, "b", b.orderId);
    const event = await world.apply(0, { say: false });
    world.say({ ...event, orders: [] });
    expect(await skipped).toMatchObject({ code: "confirmed", orderId: b.orderId });
  });

  it("never takes a lost refusal for a confirmation: an event beyond the order that does not name it proves nothing", async () => {
    const sale = await openSale(3);
    const service = await serviceOf();
    await known(service, sale);
    const a = await buy(service, ticketOf(sale, "a"));
    const end = waitFinal(service, sale, "a", a.orderId);
    const field = `{s0}:buyers:${sale}`;
    await world.client(0).hset(field, "a", `x${await world.client(0).hget(field, "a")}`);
    const event = await world.apply(0, { say: false });
    world.say({ ...event, orders: [] });
    expect(await end).toMatchObject({ code: "rejected", orderId: a.orderId });
  });

  it("pushes to everybody who watches the buyer, once, and to nobody else", async () => {
    const sale = await openSale(3);
    const service = await serviceOf();
    await known(service, sale);
    const pushed: string[] = [];
    const cancel = service.watchBuyer(sale, "a", (outcome) => pushed.push(`first ${outcome.code}`));
    service.watchBuyer(sale, "a", (outcome) => pushed.push(`second ${outcome.code}`));
    service.watchBuyer(sale, "z", (outcome) => pushed.push(`other ${outcome.code}`));
    await buyAll(service, sale, ["b", "a"]);
    const event = await world.apply(0);
    await until(() => pushed.length >= 2, "both hear of it");
    world.say(event);
    cancel();
    cancel();
    const c = await buy(service, ticketOf(sale, "c"));
    const marker = waitFinal(service, sale, "c", c.orderId);
    await world.apply(0);
    await marker;
    expect(pushed.sort()).toEqual(["first confirmed", "second confirmed"]);
  });

  it("pushes although the event was lost", async () => {
    const sale = await openSale(1);
    const service = await serviceOf();
    await known(service, sale);
    const pushed: Outcome[] = [];
    service.watchBuyer(sale, "a", (outcome) => pushed.push(outcome));
    const { orderId } = await buy(service, ticketOf(sale, "a"));
    await world.apply(0, { say: false });
    await until(() => pushed.length > 0, "the buyer hears of it");
    expect(pushed).toEqual([{ code: "confirmed", orderId, units: 1 }]);
  });

  it("a new epoch that kept the order confirms it; one that lost it says so", async () => {
    const sale = await openSale(3);
    const service = await serviceOf();
    await known(service, sale);
    const [a, b] = (await buyAll(service, sale, ["a", "b"])) as [Outcome, Outcome];
    await world.apply(0, { say: false });
    const kept = waitFinal(service, sale, "a", a.orderId);
    const gone = waitFinal(service, sale, "b", b.orderId);
    await world.client(0).hdel(`{s0}:buyers:${sale}`, "b");
    const epoch = await world.openShard(0);
    world.say({ shard: 0, epoch, applied: 0, orders: [], rejected: [] });
    expect(await kept).toMatchObject({ code: "confirmed", orderId: a.orderId });
    expect(await gone).toMatchObject({ code: "not_survived" });
  });

  it("a cancelled wait is never told", async () => {
    const sale = await openSale(2);
    const service = await serviceOf();
    await known(service, sale);
    const [a, b] = (await buyAll(service, sale, ["a", "b"])) as [Outcome, Outcome];
    let told = 0;
    const cancel = service.waitFinal(ticketOf(sale, "a"), "", a.orderId ?? "", () => (told += 1));
    cancel();
    cancel();
    const end = waitFinal(service, sale, "b", b.orderId);
    await world.apply(0);
    await end;
    expect(told).toBe(0);
  });
});

describe("a sale that is sold out", () => {
  it("refuses strangers in the same tick and without Redis; holders get their first answer; a unit that comes back is sold", async () => {
    const sale = await openSale(2);
    const service = await serviceOf();
    await known(service, sale);
    const [a] = (await buyAll(service, sale, ["a", "b"])) as [Outcome];
    world.flags = [{ saleId: sale, version: 1 }];
    await until(() => codeAtOnce(service, ticketOf(sale, "x")) === "sold_out", "the short cut is taken");
    expect(service.saleView(sale)?.soldOut).toBe(true);
    const asked = await service.registry.getSingleMetric("doorbuster_gateway_batch_size")?.get();
    // On a slow machine the flag's lease may run out between two polls; then nobody is refused until the next.
    for (let refused = 0; refused < 1_000; refused++)
      await until(() => service.refusal(ticketOf(sale, `stranger-${refused}`))?.code === "sold_out", "a stranger is refused");
    await until(() => service.saleView(sale)?.soldOut === true, "the flag is believed");
    expect(refusedAtOnce(service, ticketOf(sale, "y"))).toBe("sold_out");
    expect(await service.registry.getSingleMetric("doorbuster_gateway_batch_size")?.get()).toEqual(asked);
    expect(service.refusal(ticketOf(sale, "a"))).toBeUndefined();
    expect(await buy(service, ticketOf(sale, "a"))).toMatchObject({ code: "reserved", orderId: a.orderId, repeat: true });

    world.flags = [];
    await until(() => service.saleView(sale)?.soldOut === false, "the flag is withdrawn");
    expect(service.refusal(ticketOf(sale, "x"))).toBeUndefined();
    await world.addUnits(sale, "back", 1);
    expect(await buy(service, ticketOf(sale, "x"))).toMatchObject({ code: "reserved" });
  });

  it("is asked about in Redis again when the workers fall silent", async () => {
    const sale = await openSale(1);
    const service = await serviceOf();
    await known(service, sale);
    await buy(service, ticketOf(sale, "a"));
    world.flags = [{ saleId: sale, version: 1 }];
    await until(() => service.saleView(sale)?.soldOut === true, "the flag is known");
    world.flags = undefined;
    await until(() => service.saleView(sale)?.soldOut === false, "the lease has run out");
    await world.addUnits(sale, "back", 1);
    expect(await buy(service, ticketOf(sale, "x"))).toMatchObject({ code: "reserved" });
  });
});

describe("draining", () => {
  it("answers what it holds and refuses what is new", async () => {
    const sale = await openSale(10);
    const service = await serviceOf();
    await known(service, sale);
    const held = buyAll(service, sale, uidsOf(20));
    const end = service.drain();
    const late = await buy(service, ticketOf(sale, "late"));
    expect(late).toMatchObject({ code: "busy" });
    expect(tally(await held)).toEqual({ reserved: 10, sold_out: 10 });
    await end;
    expect(service.isReady()).toBe(false);
  });
});

describe("metrics", () => {
  it("count every answer by its code, and the batches", async () => {
    const sale = await openSale(10);
    const service = await serviceOf();
    await known(service, sale);
    await buyAll(service, sale, uidsOf(600));
    const text = await service.registry.metrics();
    expect(text).toContain('doorbuster_gateway_outcomes_total{code="reserved"} 10');
    expect(text).toContain('doorbuster_gateway_outcomes_total{code="sold_out"} 590');
    expect(text).toContain('doorbuster_gateway_batch_size_sum{kind="purchases"} 600');
  });
});
