// Over 400 lines: all of a desk's promises on one shop of real servers; a second file would start them again.
import * as fc from "fast-check";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../test/harness/index.ts";
import { startShop, type Shop } from "../../test/harness/shop.ts";
import { signTicket, ticketKeys, ticketReader } from "../identity/ticket.ts";
import { createDesk, type Desk, type DeskOptions } from "./desk.ts";
import type { Outcome } from "./outcome.ts";

const keys = ticketKeys([{ id: "k1", secret: "a secret of the test" }]);
const ticketOf = (saleId: string, uid: string, expiresAtMs = Date.now() + 600_000): string =>
  signTicket(keys, { saleId, uid, expiresAtMs });

let shop: Shop;
const desks: Desk[] = [];

const deskOf = async (config: Partial<DeskOptions["config"]> = {}, of = shop): Promise<Desk & { registry: Registry }> => {
  const registry = new Registry();
  const desk = createDesk({
    config: {
      REDIS_SHARDS: of.redis.map((server) => server.url),
      DOORBUSTER_BUYER_RATE: 0,
      DOORBUSTER_BUYER_BURST: 1,
      DOORBUSTER_ADDRESS_RATE: 0,
      DOORBUSTER_ADDRESS_BURST: 1,
      DOORBUSTER_SALE_RATE: 0,
      DOORBUSTER_SALE_BURST: 1,
      DOORBUSTER_BUCKETS: 1_024,
      DOORBUSTER_QUEUE_LIMIT: 20_000,
      DOORBUSTER_DECISION_TIMEOUT_MS: 2_000,
      DOORBUSTER_OUTBOX_LIMIT: 100_000,
      ...config,
    },
    nats: of.connection,
    tickets: ticketReader(keys),
    log: pino({ level: "silent" }),
    registry,
  });
  desks.push(desk);
  await until(() => desk.isReady(), "the desk is ready");
  // Ready is said when one shard can be asked; the tests ask both.
  for (const probe of ["probe-0", "probe-1"])
    await until(async () => (await standing(desk, probe, "nobody")).code === "none", `${probe} can be asked`);
  return { ...desk, registry };
};

/** With the answer's time of arrival left out, and a count of answers, because each must come exactly once. */
const buy = (desk: Desk, ticket: string, { address = "", units = 1, key = "" } = {}): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    let answers = 0;
    desk.buy({ ticket, address, units, key }, (outcome) => {
      answers += 1;
      if (answers > 1) reject(new Error(`answered twice, the second time ${outcome.code}`));
      // Twice in one tick would be seen before the promise is looked at.
      queueMicrotask(() => resolve(outcome));
    });
  });
const buyAll = (desk: Desk, saleId: string, uids: readonly string[]): Promise<Outcome[]> =>
  Promise.all(uids.map((uid) => buy(desk, ticketOf(saleId, uid))));
const standing = (desk: Desk, saleId: string, uid: string, key = ""): Promise<Outcome> =>
  new Promise((resolve) => desk.standing(ticketOf(saleId, uid), key, resolve));
const uidsOf = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `u${from + i}`);
const tally = (outcomes: readonly Outcome[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { code } of outcomes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
};
const known = (desk: Desk, saleId: string): Promise<void> => until(() => desk.saleView(saleId) !== undefined, `${saleId} is known`);

/** The answer if it comes in the same tick, "later" otherwise. */
const codeAtOnce = (desk: Desk, ticket: string): string => {
  let code = "later";
  desk.buy({ ticket, address: "", units: 1, key: "" }, (outcome) => (code = outcome.code));
  return code;
};

/** The answer to this ticket's purchase before anything is made for it must be the one that the purchase gets. */
const refusedAtOnce = (desk: Desk, ticket: string): string => {
  const before = desk.refusal(ticket);
  const code = codeAtOnce(desk, ticket);
  expect(before?.code ?? code).toBe(code);
  return before?.code ?? "asked further";
};

let sales = 0;
const openSale = async (units: number, sale: Partial<Parameters<Shop["openSale"]>[0]> = {}): Promise<string> => {
  const id = `sale-${++sales}`;
  await shop.openSale({ id, ...sale }, units);
  return id;
};

beforeAll(async () => {
  shop = await startShop(2);
  for (const shard of [0, 1]) await shop.openSale({ id: `probe-${shard}`, shards: [shard] }, 0);
});
afterEach(async () => {
  await Promise.all(desks.splice(0).map((desk) => desk.drain()));
  shop.flags = [];
});
afterAll(() => shop.stop());

describe("a purchase", () => {
  it("sells exactly the stock, and a winner's repeat is the first answer, also of the last unit", async () => {
    const sale = await openSale(100);
    const desk = await deskOf();
    await known(desk, sale);
    const first = await buyAll(desk, sale, uidsOf(1_000));
    expect(tally(first)).toEqual({ reserved: 100, sold_out: 900 });
    const again = await buyAll(desk, sale, uidsOf(1_000));
    expect(again.map(({ code, orderId }) => ({ code, orderId }))).toEqual(first.map(({ code, orderId }) => ({ code, orderId })));
    expect(new Set(first.map((outcome) => outcome.orderId).filter(Boolean)).size).toBe(100);
  });

  it("1,000 parallel first requests of one buyer: one win, 999 times the same answer", async () => {
    const sale = await openSale(10);
    const desk = await deskOf();
    await known(desk, sale);
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => buy(desk, ticketOf(sale, "one"))));
    expect(tally(outcomes)).toEqual({ reserved: 1_000 });
    expect(new Set(outcomes.map((outcome) => outcome.orderId)).size).toBe(1);
    expect(outcomes.filter((outcome) => outcome.repeat !== true)).toHaveLength(1);
    expect(await shop.client(0).hlen(`{s0}:buyers:${sale}`)).toBe(1);
  });

  it("is confirmed in its repeat and in GET once it is applied", async () => {
    const sale = await openSale(1);
    const desk = await deskOf();
    await known(desk, sale);
    const { orderId } = await buy(desk, ticketOf(sale, "a"));
    expect(await standing(desk, sale, "a")).toMatchObject({ code: "reserved", orderId, units: 1 });
    await shop.apply(0);
    expect(await buy(desk, ticketOf(sale, "a"))).toEqual({ code: "confirmed", orderId, units: 1, repeat: true });
    expect(await standing(desk, sale, "a")).toMatchObject({ code: "confirmed", orderId });
    expect(await standing(desk, sale, "b")).toMatchObject({ code: "none" });
  });

  it("keeps two sales on one shard apart", async () => {
    const [a, b] = [await openSale(50), await openSale(70)];
    const desk = await deskOf();
    await known(desk, b);
    const [ofA, ofB] = await Promise.all([buyAll(desk, a, uidsOf(300)), buyAll(desk, b, uidsOf(300))]);
    expect(tally(ofA)).toEqual({ reserved: 50, sold_out: 250 });
    expect(tally(ofB)).toEqual({ reserved: 70, sold_out: 230 });
  });

  it("with a limit above one: keys are purchases, all units or none, never sold out while a unit is left", async () => {
    const sale = await openSale(3, { limitPerBuyer: 2 });
    const desk = await deskOf();
    await known(desk, sale);
    expect(await buy(desk, ticketOf(sale, "a"), { units: 2, key: "k1" })).toMatchObject({ code: "reserved", units: 2 });
    expect(await buy(desk, ticketOf(sale, "a"), { units: 1, key: "k2" })).toMatchObject({ code: "limit_reached" });
    expect(await buy(desk, ticketOf(sale, "b"), { units: 2, key: "k1" })).toMatchObject({ code: "try_again" });
    expect(await buy(desk, ticketOf(sale, "b"), { units: 1, key: "k2" })).toMatchObject({ code: "reserved", units: 1 });
    expect(await buy(desk, ticketOf(sale, "c"), { units: 2 })).toMatchObject({ code: "sold_out" });
    expect(await buy(desk, ticketOf(sale, "a"), { units: 2, key: "k1" })).toMatchObject({ code: "reserved", units: 2, repeat: true });
  });

  it("on a dry shard of a sale on two is try_again, never sold_out", async () => {
    const sale = await openSale(5, { shards: [0, 1] });
    const desk = await deskOf();
    await known(desk, sale);
    expect(tally(await buyAll(desk, sale, uidsOf(200)))).toEqual({ reserved: 10, try_again: 190 });
  });
});

describe("any crowd", () => {
  it("of any stock, limit, units and repeats: never more than the stock, never above a limit, repeats are first answers", async () => {
    const desk = await deskOf();
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
          await known(desk, sale);
          const send = (): Promise<Outcome[]> =>
            Promise.all(
              crowd.map(({ uid, key, units }) => buy(desk, ticketOf(sale, `u${uid}`), limit === 1 ? {} : { units, key: `k${key}` })),
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
          if (stock > 0) expect(Number(await shop.client(0).hget(`{s0}:sale:${sale}`, "left"))).toBe(stock - sold);
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
    const desk = await deskOf();
    await known(desk, unstocked);
    const good = ticketOf(paused, "a");
    expect(await buy(desk, "not a ticket")).toMatchObject({ code: "ticket_invalid" });
    const silence = shop.answerSales([]);
    expect(await buy(desk, ticketOf("nowhere", "a"))).toMatchObject({ code: "sale_unknown" });
    silence();
    expect(await buy(desk, ticketOf(early, "a"))).toMatchObject({ code: "not_open", opensAtMs });
    expect(refusedAtOnce(desk, ticketOf(early, "a"))).toBe("not_open");
    expect(refusedAtOnce(desk, "nonsense")).toBe("ticket_invalid");
    expect(desk.refusal(ticketOf("nowhere", "a"))).toBeUndefined();
    expect((await buy(desk, ticketOf(early, "a"))).retryAfterMs).toBeGreaterThan(3_500_000);
    expect(await buy(desk, ticketOf(late, "a"))).toMatchObject({ code: "closed" });
    expect(await buy(desk, good)).toMatchObject({ code: "paused" });
    expect(await buy(desk, ticketOf(unstocked, "a"))).toMatchObject({ code: "try_again" });
    expect(await buy(desk, `${good.slice(0, -1)}${good.endsWith("A") ? "B" : "A"}`)).toMatchObject({ code: "ticket_invalid" });
    expect(await buy(desk, ticketOf(paused, "a", Date.now() - 1))).toMatchObject({ code: "ticket_expired" });
    expect(await buy(desk, good, { units: 0 })).toMatchObject({ code: "bad_request" });
    expect(await buy(desk, good, { units: 1.5 })).toMatchObject({ code: "bad_request" });
    expect(await buy(desk, good, { key: "a b" })).toMatchObject({ code: "bad_request" });
    expect(await buy(desk, good, { units: 2 })).toMatchObject({ code: "bad_request" });
  });

  it("a sale that has not reached this process is looked for: a winner at another process hears the first answer", async () => {
    const [early, late] = [await deskOf(), await deskOf()];
    const record = await shop.stockSale({ id: "late-bucket" }, 1);
    const silence = shop.answerSales([record]);
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
    const desk = await deskOf();
    const record = await shop.stockSale({ id: "looked-for" }, 1);
    const find = (saleId: string): Promise<string> => new Promise((resolve) => desk.findSale(saleId, resolve));
    expect(await find(record.id)).toBe("silence");
    const silence = shop.answerSales([record]);
    expect(await Promise.all([find(record.id), find("nowhere")])).toEqual(["found", "none"]);
    expect(desk.saleView(record.id)?.record).toEqual(record);
    silence();
  });

  it("a standing looks for an unknown sale too, and where nobody can say, nobody is told that there is none", async () => {
    const desk = await deskOf();
    const record = await shop.stockSale({ id: "later-bucket" }, 1);
    const forged = `${ticketOf(record.id, "a").slice(0, -4)}AAAA`;
    expect(await buy(desk, ticketOf(record.id, "a"))).toMatchObject({ code: "recovering" });
    expect(await standing(desk, record.id, "a")).toMatchObject({ code: "recovering" });
    expect(await buy(desk, forged)).toMatchObject({ code: "ticket_invalid" });
    const silence = shop.answerSales([record]);
    expect(await standing(desk, record.id, "a")).toMatchObject({ code: "none" });
    expect(await standing(desk, "nowhere", "a")).toMatchObject({ code: "sale_unknown" });
    silence();
  });

  it("a repeat in a closed or paused sale is still the first answer", async () => {
    const sale = await openSale(1);
    const desk = await deskOf();
    await known(desk, sale);
    const { orderId } = await buy(desk, ticketOf(sale, "a"));
    const record = desk.saleView(sale)?.record;
    if (record === undefined) throw new Error("no record");
    for (const [version, state] of [
      [2, "paused"],
      [3, "closed"],
    ] as const) {
      await shop.define({ ...record, state, version }, 0, 1);
      await shop.putRecord({ ...record, state, version });
      await until(() => desk.saleView(sale)?.record.state === state, `the sale is ${state}`);
      expect(await buy(desk, ticketOf(sale, "a"))).toMatchObject({ code: "reserved", orderId });
      expect(await buy(desk, ticketOf(sale, "b"))).toMatchObject({ code: state });
    }
  });

  it("an opening that is put off holds although somebody was let in before", async () => {
    const sale = await openSale(0);
    const desk = await deskOf();
    await known(desk, sale);
    expect(await buy(desk, ticketOf(sale, "a"))).toMatchObject({ code: "try_again" });
    const record = desk.saleView(sale)?.record;
    if (record === undefined) throw new Error("no record");
    const opensAtMs = Date.now() + 60_000;
    await shop.putRecord({ ...record, opensAtMs, version: 2 });
    await until(() => desk.saleView(sale)?.record.opensAtMs === opensAtMs, "the opening is put off");
    expect(codeAtOnce(desk, ticketOf(sale, "a"))).toBe("not_open");
  });

  it("forged tickets take nothing from the bucket of the buyer they name; the buyer's own requests do", async () => {
    const sale = await openSale(1);
    const desk = await deskOf({ DOORBUSTER_BUYER_RATE: 0.001, DOORBUSTER_BUYER_BURST: 2 });
    await known(desk, sale);
    const good = ticketOf(sale, "victim");
    const forged = `${good.slice(0, -4)}AAAA`;
    for (let i = 0; i < 50; i++) expect(await buy(desk, forged)).toMatchObject({ code: "ticket_invalid" });
    expect(await buy(desk, good)).toMatchObject({ code: "reserved" });
    expect(await buy(desk, good)).toMatchObject({ code: "reserved", repeat: true });
    expect(await buy(desk, good)).toMatchObject({ code: "rate_limited", retryAfterMs: 60_000 });
    expect(refusedAtOnce(desk, good)).toBe("rate_limited");
    expect(refusedAtOnce(desk, ticketOf(sale, "other"))).toBe("asked further");
    // Drained: now even a forged one is refused before its signature is looked at.
    expect(await buy(desk, forged)).toMatchObject({ code: "rate_limited" });
  });

  it("forged tickets drain the address they come from", async () => {
    const sale = await openSale(1);
    const desk = await deskOf({ DOORBUSTER_ADDRESS_RATE: 0.001, DOORBUSTER_ADDRESS_BURST: 3 });
    await known(desk, sale);
    const address = "c0a80002";
    const forged = `${ticketOf(sale, "victim").slice(0, -4)}AAAA`;
    const codes = await Promise.all(uidsOf(5).map(() => buy(desk, forged, { address })));
    expect(tally(codes)).toEqual({ ticket_invalid: 3, rate_limited: 2 });
    expect(await buy(desk, ticketOf(sale, "victim"), { address: "c0a80003" })).toMatchObject({ code: "reserved" });
  });

  it("an address is limited over its buyers, an exempt one is not", async () => {
    const sale = await openSale(1);
    const desk = await deskOf({ DOORBUSTER_ADDRESS_RATE: 0.001, DOORBUSTER_ADDRESS_BURST: 3 });
    await known(desk, sale);
    const codes = await Promise.all(uidsOf(5).map((uid) => buy(desk, ticketOf(sale, uid), { address: "c0a80001" })));
    expect(tally(codes)).toEqual({ reserved: 1, sold_out: 2, rate_limited: 2 });
    expect(tally(await buyAll(desk, sale, uidsOf(5, 10)))).toEqual({ sold_out: 5 });
  });
});

describe("waiting and watching", () => {
  const waitFinal = (desk: Desk, sale: string, uid: string, orderId: string | undefined, key = ""): Promise<Outcome> =>
    new Promise((resolve) => desk.waitFinal(ticketOf(sale, uid), key, orderId ?? "", resolve));

  it("ends with the status event that names the order, confirmed or rejected", async () => {
    const sale = await openSale(2, { shards: [1], limitPerBuyer: 3 });
    const desk = await deskOf();
    await known(desk, sale);
    const a = await buy(desk, ticketOf(sale, "a"), { key: "k" });
    const b = await buy(desk, ticketOf(sale, "b"));
    const ends = Promise.all([waitFinal(desk, sale, "a", a.orderId, "k"), waitFinal(desk, sale, "b", b.orderId)]);
    await shop.apply(1, { rejected: [[b.orderId ?? "", "quota"]] });
    expect(await ends).toEqual([
      { code: "confirmed", orderId: a.orderId, units: 1 },
      { code: "rejected", orderId: b.orderId, units: 1, reason: "quota" },
    ]);
  });

  it("ends although every event was lost, and although a later event skips the order", async () => {
    const sale = await openSale(3);
    const desk = await deskOf();
    await known(desk, sale);
    const a = await buy(desk, ticketOf(sale, "a"));
    const lost = waitFinal(desk, sale, "a", a.orderId);
    await shop.apply(0, { say: false });
    expect(await lost).toMatchObject({ code: "confirmed", orderId: a.orderId });

    const b = await buy(desk, ticketOf(sale, "b"));
    const skipped = waitFinal(desk, sale, "b", b.orderId);
    const event = await shop.apply(0, { say: false });
    shop.say({ ...event, orders: [] });
    expect(await skipped).toMatchObject({ code: "confirmed", orderId: b.orderId });
  });

  it("never takes a lost refusal for a confirmation: an event beyond the order that does not name it proves nothing", async () => {
    const sale = await openSale(3);
    const desk = await deskOf();
    await known(desk, sale);
    const a = await buy(desk, ticketOf(sale, "a"));
    const end = waitFinal(desk, sale, "a", a.orderId);
    const field = `{s0}:buyers:${sale}`;
    await shop.client(0).hset(field, "a", `x${await shop.client(0).hget(field, "a")}`);
    const event = await shop.apply(0, { say: false });
    shop.say({ ...event, orders: [] });
    expect(await end).toMatchObject({ code: "rejected", orderId: a.orderId });
  });

  it("pushes to everybody who watches the buyer, once, and to nobody else", async () => {
    const sale = await openSale(3);
    const desk = await deskOf();
    await known(desk, sale);
    const pushed: string[] = [];
    const cancel = desk.watchBuyer(sale, "a", (outcome) => pushed.push(`first ${outcome.code}`));
    desk.watchBuyer(sale, "a", (outcome) => pushed.push(`second ${outcome.code}`));
    desk.watchBuyer(sale, "z", (outcome) => pushed.push(`other ${outcome.code}`));
    await buyAll(desk, sale, ["b", "a"]);
    const event = await shop.apply(0);
    await until(() => pushed.length >= 2, "both hear of it");
    shop.say(event);
    cancel();
    cancel();
    const c = await buy(desk, ticketOf(sale, "c"));
    const marker = waitFinal(desk, sale, "c", c.orderId);
    await shop.apply(0);
    await marker;
    expect(pushed.sort()).toEqual(["first confirmed", "second confirmed"]);
  });

  it("pushes although the event was lost", async () => {
    const sale = await openSale(1);
    const desk = await deskOf();
    await known(desk, sale);
    const pushed: Outcome[] = [];
    desk.watchBuyer(sale, "a", (outcome) => pushed.push(outcome));
    const { orderId } = await buy(desk, ticketOf(sale, "a"));
    await shop.apply(0, { say: false });
    await until(() => pushed.length > 0, "the buyer hears of it");
    expect(pushed).toEqual([{ code: "confirmed", orderId, units: 1 }]);
  });

  it("a new epoch that kept the order confirms it; one that lost it says so", async () => {
    const sale = await openSale(3);
    const desk = await deskOf();
    await known(desk, sale);
    const [a, b] = (await buyAll(desk, sale, ["a", "b"])) as [Outcome, Outcome];
    await shop.apply(0, { say: false });
    const kept = waitFinal(desk, sale, "a", a.orderId);
    const gone = waitFinal(desk, sale, "b", b.orderId);
    await shop.client(0).hdel(`{s0}:buyers:${sale}`, "b");
    const epoch = await shop.openShard(0);
    shop.say({ shard: 0, epoch, applied: 0, orders: [], rejected: [] });
    expect(await kept).toMatchObject({ code: "confirmed", orderId: a.orderId });
    expect(await gone).toMatchObject({ code: "try_again" });
  });

  it("a cancelled wait is never told", async () => {
    const sale = await openSale(2);
    const desk = await deskOf();
    await known(desk, sale);
    const [a, b] = (await buyAll(desk, sale, ["a", "b"])) as [Outcome, Outcome];
    let told = 0;
    const cancel = desk.waitFinal(ticketOf(sale, "a"), "", a.orderId ?? "", () => (told += 1));
    cancel();
    cancel();
    const end = waitFinal(desk, sale, "b", b.orderId);
    await shop.apply(0);
    await end;
    expect(told).toBe(0);
  });
});

describe("a sale that is sold out", () => {
  it("refuses strangers in the same tick and without Redis; holders get their first answer; a unit that comes back is sold", async () => {
    const sale = await openSale(2);
    const desk = await deskOf();
    await known(desk, sale);
    const [a] = (await buyAll(desk, sale, ["a", "b"])) as [Outcome];
    shop.flags = [{ saleId: sale, version: 1 }];
    await until(() => codeAtOnce(desk, ticketOf(sale, "x")) === "sold_out", "the short cut is taken");
    expect(desk.saleView(sale)?.soldOut).toBe(true);
    const asked = await desk.registry.getSingleMetric("doorbuster_gateway_batch_size")?.get();
    // On a slow machine the flag's lease may run out between two polls; then nobody is refused until the next.
    for (let refused = 0; refused < 1_000; refused++)
      await until(() => desk.refusal(ticketOf(sale, `stranger-${refused}`))?.code === "sold_out", "a stranger is refused");
    await until(() => desk.saleView(sale)?.soldOut === true, "the flag is believed");
    expect(refusedAtOnce(desk, ticketOf(sale, "y"))).toBe("sold_out");
    expect(await desk.registry.getSingleMetric("doorbuster_gateway_batch_size")?.get()).toEqual(asked);
    expect(desk.refusal(ticketOf(sale, "a"))).toBeUndefined();
    expect(await buy(desk, ticketOf(sale, "a"))).toMatchObject({ code: "reserved", orderId: a.orderId, repeat: true });

    shop.flags = [];
    await until(() => desk.saleView(sale)?.soldOut === false, "the flag is withdrawn");
    expect(desk.refusal(ticketOf(sale, "x"))).toBeUndefined();
    await shop.addUnits(sale, "back", 1);
    expect(await buy(desk, ticketOf(sale, "x"))).toMatchObject({ code: "reserved" });
  });

  it("is asked about in Redis again when the workers fall silent", async () => {
    const sale = await openSale(1);
    const desk = await deskOf();
    await known(desk, sale);
    await buy(desk, ticketOf(sale, "a"));
    shop.flags = [{ saleId: sale, version: 1 }];
    await until(() => desk.saleView(sale)?.soldOut === true, "the flag is known");
    shop.flags = undefined;
    await until(() => desk.saleView(sale)?.soldOut === false, "the lease has run out");
    await shop.addUnits(sale, "back", 1);
    expect(await buy(desk, ticketOf(sale, "x"))).toMatchObject({ code: "reserved" });
  });
});

describe("draining", () => {
  it("answers what it holds and refuses what is new", async () => {
    const sale = await openSale(10);
    const desk = await deskOf();
    await known(desk, sale);
    const held = buyAll(desk, sale, uidsOf(20));
    const end = desk.drain();
    const late = await buy(desk, ticketOf(sale, "late"));
    expect(late).toMatchObject({ code: "busy" });
    expect(tally(await held)).toEqual({ reserved: 10, sold_out: 10 });
    await end;
    expect(desk.isReady()).toBe(false);
  });
});

describe("metrics", () => {
  it("count every answer by its code, and the batches", async () => {
    const sale = await openSale(10);
    const desk = await deskOf();
    await known(desk, sale);
    await buyAll(desk, sale, uidsOf(600));
    const text = await desk.registry.metrics();
    expect(text).toContain('doorbuster_gateway_outcomes_total{code="reserved"} 10');
    expect(text).toContain('doorbuster_gateway_outcomes_total{code="sold_out"} 590');
    expect(text).toContain('doorbuster_gateway_batch_size_sum{kind="purchases"} 600');
  });
});
