import type { SaleRecord } from "#protocol/sale";
import { Admission } from "../../../gateway/admission/admission.ts";
import { Checkout } from "../../../gateway/buy/checkout.ts";
import { Lane, type Answer, type LaneOptions } from "../../../gateway/buy/lane.ts";
import type { PurchaseKey, ShardStore, Tickets } from "../../../gateway/buy/ports.ts";
import { DryShard } from "../../../gateway/buy/dry-shard.ts";
import { purchaseCargo, standingCargo, type PurchaseCargoOptions } from "../../../gateway/buy/purchases.ts";
import { Waiting } from "../../../gateway/buy/waiting.ts";
import { SaleBook } from "../../../gateway/sales/book.ts";
import { POLL_MS, SoldOut, type SoldOutStore } from "../../../gateway/sales/sold-out.ts";
import type { Reserved } from "#lua/stock/reserve";
import type { Standings } from "#lua/stock/standing";
import type { Life, Program } from "../kernel/process.ts";
import { op, Unanswered, Wire } from "../kernel/wire.ts";
import { BEGINNING_MS } from "../kernel/kernel.ts";
import { reserve, standing, stock } from "../redis/index.ts";
import type { World } from "../world.ts";
import { arrive } from "./bus.ts";
import { RedisWire } from "./redis-ports.ts";

const RESERVE = op("redis reserve");
const STANDING = op("redis standing");
const STOCK = op("redis stock for a gateway");
const BUYERS = op("redis buyers");
const FLAGS = op("sold-out flags");

const TIMEOUT_MS = 1_500;
/** A connection that is silent for so long is made anew: what was on it fails. */
const CONNECTION_MS = TIMEOUT_MS * 3;
const FLAGS_MS = 400;
const TICK_MS = 150;
const LOAD_MS = 250;
const OUTBOX_LIMIT = 40;
const BUYERS_A_PAGE = 3;

/** What a buyer can do at one gateway. */
export interface Counter {
  buy(request: { saleId: string; uid: string; key: string; units: number }, answer: Answer): void;
  standing(saleId: string, purchase: PurchaseKey, answer: Answer): void;
  wait(saleId: string, purchase: PurchaseKey, orderId: string, answer: Answer): void;
}

/** Tickets that say what they are: signatures are not what is simulated. */
const tickets: Tickets = {
  find: (text) => ({ saleAt: 0, saleEnd: text.indexOf(" "), uidAt: text.indexOf(" ") + 1, uidEnd: text.length }),
  read: (text) => {
    const [saleId = "", uid = ""] = text.split(" ");
    return { saleId, uid };
  },
  verify: () => "ok",
};

const NO_LIMIT = { rate: 0, burst: 1 };

const storeOf = (redis: RedisWire): ShardStore => ({
  isReady: () => redis.isUp,
  reserve: (saleId, purchases) => redis.run(RESERVE, (server) => reserve(server, { saleId, outboxLimit: OUTBOX_LIMIT, purchases })),
  standing: (saleId, purchases) => redis.run(STANDING, (server) => standing(server, { saleId, purchases })),
  reset: () => undefined,
});

const soldOutStoreOf = (world: World, life: Life, redis: readonly RedisWire[]): SoldOutStore => {
  const wire = new Wire(life, world, () => world.broker, FLAGS_MS);
  const of = (shard: number): RedisWire => redis[shard] as RedisWire;
  return {
    flags: () =>
      wire.call(FLAGS, () => {
        if (world.bus.worker() === undefined || !world.postgres.isUp) throw new Unanswered("no worker answers");
        return world.postgres.flags();
      }),
    stock: (shard, saleId) => of(shard).run(STOCK, (server) => stock(server, saleId)),
    buyers: (shard, saleId, cursor) =>
      of(shard).run(BUYERS, ({ data }) => {
        const sale = data.sales.get(saleId);
        const fields = sale === undefined ? [] : [...sale.buyers.keys(), ...sale.totals.keys()];
        const at = Number(cursor);
        const next = at + BUYERS_A_PAGE;
        return { cursor: next >= fields.length ? "0" : String(next), fields: fields.slice(at, next) };
      }),
  };
};

const every = async (life: Life, ms: number, step: () => Promise<void>): Promise<void> => {
  for (;;) {
    await life.clock.sleep(ms);
    await step().catch(() => undefined);
  }
};

/** gateway/buy/desk.ts, over the simulated stores. */
export const gatewayProgram = (world: World, name: string, sales: readonly SaleRecord[]): Program => ({
  name,
  start: (life) => {
    const { clock, random, kernel } = life;
    const wallNowMs = (): number => BEGINNING_MS + kernel.nowMs + life.process.aheadMs;
    const book = new SaleBook();
    for (const sale of sales) book.put(sale);
    const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard, CONNECTION_MS));
    const stores = redis.map((wire) => storeOf(wire));
    let isTicking = false;
    const tick = async (): Promise<void> => {
      if (isTicking) return;
      isTicking = true;
      do {
        await clock.sleep(TICK_MS);
        const nowMs = clock.monotonicMs();
        for (const lane of [...purchases, ...standings]) lane.tick(nowMs);
        waiting.tick(nowMs);
        for (const shard of dryShards) shard.tick(nowMs);
      } while (
        waiting.count > 0 ||
        dryShards.some((shard) => shard.count > 0) ||
        ![...purchases, ...standings].every((lane) => lane.isIdle)
      );
      isTicking = false;
    };
    const lane: LaneOptions = {
      clock,
      turn: { atEnd: (flush) => arrive(kernel, life, 0, flush) },
      queueLimit: 100,
      timeoutMs: TIMEOUT_MS,
    };
    const shardsOf = (saleId: string): number => {
      const count = book.get(saleId)?.record.shards.length ?? 1;
      return world.twins.shardsOf?.(count) ?? count;
    };
    const dryShards = stores.map(
      (_, shard) =>
        new DryShard({
          clock,
          ask: (saleId, packed, answer) => (purchases[shard] as Lane<string, Reserved>).join(saleId, packed, answer, clock.monotonicMs()),
          isSoldOut: (saleId) => world.options.soldOut && book.get(saleId)?.isFlagged(clock.monotonicMs()) === true,
          hint: (saleId, units) => world.bus.dry(life, shard, saleId, units),
        }),
    );
    const purchases: readonly Lane<string, Reserved>[] = stores.map((store, shard) => {
      const hold: PurchaseCargoOptions["hold"] = (...dry) => (dryShards[shard] as DryShard).hold(...dry);
      return new Lane(purchaseCargo({ shard, store, shardsOf, hold, wallNowMs }), lane);
    });
    const standings = stores.map((store, shard) => new Lane<PurchaseKey, Standings>(standingCargo(shard, store), lane));
    const waiting = new Waiting((shard, purchase, answer) => {
      const refusal = checkout.ask(shard, purchase.saleId, purchase, answer, clock.monotonicMs());
      if (refusal !== undefined) answer(refusal);
    }, 100);
    const checkout = new Checkout({
      clock,
      wallClock: { nowMs: wallNowMs },
      tickets,
      book,
      search: { find: (_saleId, done) => done("silence") },
      admission: new Admission({ buyer: NO_LIMIT, address: NO_LIMIT, sale: NO_LIMIT, slots: 8 }, random),
      purchases,
      standings,
      onReserved: () => undefined,
    });
    world.counters.set(life.process, {
      buy: ({ saleId, uid, key, units }, answer) => {
        checkout.buy({ ticket: `${saleId} ${uid}`, address: "", units, key }, answer);
        void tick();
      },
      standing: (saleId, { uid, key }, answer) => {
        checkout.standing(`${saleId} ${uid}`, key, answer);
        void tick();
      },
      wait: (saleId, purchase, orderId, answer) => {
        waiting.add({ saleId, ...purchase }, orderId, answer, clock.monotonicMs());
        void tick();
      },
    });
    world.bus.hear(life, (event) => waiting.onStatus(event));
    if (!world.options.soldOut) return;
    const store = soldOutStoreOf(world, life, redis);
    const soldOut = new SoldOut(book, world.twins.soldOutStore?.(store) ?? store, clock, random, 1 << 12);
    void every(life, POLL_MS, () => soldOut.poll());
    void every(life, LOAD_MS, () => soldOut.load());
  },
});
