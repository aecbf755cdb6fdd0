import type { NatsConnection } from "nats";
import type { Registry } from "prom-client";
import type { Config } from "#program/config";
import { noCrashPoints, type CrashPoints } from "#program/crash-points";
import type { OnBroken } from "#program/findings";
import type { Log } from "#program/log";
import { systemClock, systemRandom } from "#program/system";
import { BrokenState } from "#lua/core/broken";
import type { Reserved } from "#lua/stock/reserve";
import { Admission } from "../admission/admission.ts";
import { SaleBook } from "../sales/book.ts";
import { watchBucket } from "../stores/sale-bucket.ts";
import type { SaleView } from "../sales/known-sale.ts";
import { listSales } from "../stores/sale-list.ts";
import { SaleSearch, type Found } from "../sales/sale-search.ts";
import { soldOutStore } from "../stores/sold-out-store.ts";
import { POLL_MS, SoldOut } from "../sales/sold-out.ts";
import { Checkout, type BuyRequest } from "./checkout.ts";
import { countBroken } from "./broken.ts";
import { Connections } from "../stores/connections.ts";
import { Lane, type Answer } from "./lane.ts";
import { registerMetrics } from "./metrics.ts";
import { OutcomeCode, refusals, type Outcome } from "./outcome.ts";
import type { Tickets } from "./ports.ts";
import { hintDry } from "../stores/dry-hint.ts";
import { DryShard } from "./dry-shard.ts";
import { purchaseCargo, standingCargo, type PurchaseCargoOptions } from "./purchases.ts";
import { redisShardStore } from "../stores/shard-store.ts";
import { subscribeStatus } from "../stores/status-feed.ts";
import { systemTurn, systemWallClock } from "../stores/system.ts";
import { TurnClock } from "./turn-clock.ts";
import { Waiting, type Purchase } from "./waiting.ts";
import { Watching } from "./watching.ts";

export type { BuyRequest } from "./checkout.ts";
export type { SaleView } from "../sales/known-sale.ts";

/** Ends a wait or a watch; may be called more than once, and after the end. */
export type Cancel = () => void;

/**
 * Where purchases are decided. Knows neither HTTP nor WebSocket. Callbacks, not promises: the refusal of a flood must
 * not cost an allocation each.
 */
export interface Desk {
  /** Calls `answer` exactly once: in the same tick for what needs no Redis, later otherwise. */
  buy(request: BuyRequest, answer: Answer): void;
  /**
   * Asked before `buy` by a channel that would have to make something for it: `sold_out`, `rate_limited`, `not_open`,
   * `ticket_invalid`, `busy`, if that is what `buy` would answer in this tick and the ticket alone tells.
   */
  refusal(ticket: string): Outcome | undefined;
  /**
   * This buyer's order, the truth behind every push: `none`, `reserved`, `confirmed`, `rejected`; or `ticket_invalid`,
   * `ticket_expired`, `sale_unknown`, `recovering`, `busy`, `try_again`.
   */
  standing(ticket: string, key: string, answer: Answer): void;
  /**
   * Calls `done` once, when the order is final: `confirmed` or `rejected`. Two more answers are possible: `reserved`,
   * when too many wait already or this process stops, and `try_again` if the reservation did not survive a fail-over.
   * `ticket` and `key` are those of the purchase (its ticket was verified when it was bought; here it names the buyer);
   * without them a lost event could not be made up for by asking Redis.
   */
  waitFinal(ticket: string, key: string, orderId: string, done: Answer): Cancel;
  /**
   * Pushes each order of this buyer in this sale that becomes final (`confirmed`, `rejected`) as far as it becomes known
   * here. A convenience: `standing` is the truth.
   */
  watchBuyer(saleId: string, uid: string, push: Answer): Cancel;
  saleView(saleId: string): SaleView | undefined;
  /** Looks for a sale that `saleView` does not know. @param done called once */
  findSale(saleId: string, done: (found: Found) => void): void;
  /** the sales are known, a shard is connected, and `drain` was not called */
  isReady(): boolean;
  /** Refuses what is new as `busy`, answers what it holds (each within the decision time-out), then closes its connections. */
  drain(): Promise<void>;
}

export interface DeskOptions {
  readonly config: Config<
    | "REDIS_SHARDS"
    | "DOORBUSTER_BUYER_RATE"
    | "DOORBUSTER_BUYER_BURST"
    | "DOORBUSTER_ADDRESS_RATE"
    | "DOORBUSTER_ADDRESS_BURST"
    | "DOORBUSTER_SALE_RATE"
    | "DOORBUSTER_SALE_BURST"
    | "DOORBUSTER_BUCKETS"
    | "DOORBUSTER_QUEUE_LIMIT"
    | "DOORBUSTER_DECISION_TIMEOUT_MS"
    | "DOORBUSTER_OUTBOX_LIMIT"
  >;
  /** stays the caller's: `drain` does not close it */
  readonly nats: NatsConnection;
  readonly tickets: Tickets;
  readonly log: Log;
  readonly registry: Registry;
  readonly points?: CrashPoints;
  /** told of what was found that may not be; by default it is counted and logged */
  readonly onBroken?: OnBroken | undefined;
}

/** How often time-outs are looked at; at most so late is one noticed. */
const TICK_MS = 25;
/** Held answers and sockets' purchases: some hundred bytes each. */
const MOST_WAITING = 100_000;
/** A look at the winners that failed (a shard was recovering, a unit came back) is taken again after this. */
const LOAD_MS = 250;

/** Puts the desk together on real stores and keeps it running until `drain`. */
export const createDesk = (options: DeskOptions): Desk => {
  const { config, nats, tickets, log, registry, points = noCrashPoints } = options;
  const clock = systemClock;
  const onBroken = options.onBroken ?? countBroken(registry, log, clock);
  const wallClock = systemWallClock;
  const timeoutMs = config.DOORBUSTER_DECISION_TIMEOUT_MS;
  const ended = new AbortController();
  const book = new SaleBook();
  const watching = new Watching();
  let isLoaded = false;
  let isStopping = false;

  const connections = new Connections(config.REDIS_SHARDS, { name: "gateway", log, commandTimeoutMs: 0 }, clock.monotonicMs());
  const shards = config.REDIS_SHARDS.map((_, shard) => shard);
  const metrics = registerMetrics(registry, {
    counts: () => checkout.counts,
    queued: () => shards.map((shard) => (purchases[shard]?.queued ?? 0) + (standings[shard]?.queued ?? 0)),
    waiting: () => waiting.count,
    dry: () => dryShards.map((one) => one.count),
  });
  const onFault = (error: unknown): void => {
    if (error instanceof BrokenState) onBroken(error);
  };
  const lane = { onFault, clock, turn: systemTurn, queueLimit: config.DOORBUSTER_QUEUE_LIMIT, timeoutMs };
  const stores = shards.map((shard) => points("desk", redisShardStore(connections.of(shard), shard, config.DOORBUSTER_OUTBOX_LIMIT)));
  const shardsOf = (saleId: string): number => book.get(saleId)?.record.shards.length ?? 1;
  const dryShards = shards.map(
    (shard) =>
      new DryShard({
        clock,
        ask: (saleId, packed, answer) => (purchases[shard] as Lane<string, Reserved>).join(saleId, packed, answer, clock.monotonicMs()),
        isSoldOut: (saleId) => book.get(saleId)?.isFlagged(clock.monotonicMs()) === true,
        hint: (saleId, units) => hintDry(nats, shard, { saleId, units }),
      }),
  );
  const purchases: readonly Lane<string, Reserved>[] = stores.map((store, shard) => {
    const hold: PurchaseCargoOptions["hold"] = (...dry) => (dryShards[shard] as DryShard).hold(...dry);
    return new Lane(purchaseCargo({ shard, store, shardsOf, hold, wallNowMs: () => wallClock.nowMs() }), {
      ...lane,
      onCall: metrics.onPurchases,
    });
  });
  const standings = stores.map((store, shard) => new Lane(standingCargo(shard, store), { ...lane, onCall: metrics.onStandings }));

  const waiting = new Waiting((shard, purchase, answer) => {
    const refusal = checkout.ask(shard, purchase.saleId, purchase, answer, clock.monotonicMs());
    if (refusal !== undefined) answer(refusal);
  }, MOST_WAITING);
  const wait = (purchase: Purchase, orderId: string, done: Answer): Cancel => waiting.add(purchase, orderId, done, clock.monotonicMs());

  const admission = new Admission(
    {
      buyer: { rate: config.DOORBUSTER_BUYER_RATE, burst: config.DOORBUSTER_BUYER_BURST },
      address: { rate: config.DOORBUSTER_ADDRESS_RATE, burst: config.DOORBUSTER_ADDRESS_BURST },
      sale: { rate: config.DOORBUSTER_SALE_RATE, burst: config.DOORBUSTER_SALE_BURST },
      slots: config.DOORBUSTER_BUCKETS,
    },
    systemRandom,
  );
  const searchOptions = { book, clock, list: () => listSales(nats, shards.length), stop: ended.signal };
  const search = new SaleSearch(searchOptions);
  // its own: who asks for sales that there are not must not stand in the way of buyers
  const readSearch = new SaleSearch(searchOptions);
  const checkout = new Checkout({
    clock: new TurnClock(clock, systemTurn),
    wallClock,
    tickets,
    book,
    search,
    admission,
    purchases,
    standings,
    onReserved: (saleId, { uid, key }, { orderId }) => {
      // A lost event would leave a socket waiting for ever: who watches is waited for like a held answer.
      if (orderId === undefined || !watching.isWatched(saleId, uid)) return;
      wait({ saleId, uid, key }, orderId, (final) => {
        if (final.code !== OutcomeCode.reserved) watching.push(saleId, uid, final);
      });
    },
  });

  const status = subscribeStatus({
    nats,
    log,
    isNeeded: () => waiting.count > 0 || !watching.isEmpty,
    onEvent: (event) => {
      watching.onStatus(event);
      waiting.onStatus(event);
    },
  });
  const every = async (ms: number, step: () => void | Promise<void>): Promise<void> => {
    while (!ended.signal.aborted) {
      await clock.sleep(ms, ended.signal);
      await step();
    }
  };
  /** Silence of a store is expected: what was known runs out by itself, and Redis is asked. */
  const orSilence = (asking: Promise<void>, what: string): Promise<void> =>
    asking.catch((error) => {
      onFault(error);
      log.debug({ err: error }, what);
    });
  const tick = (): void => {
    const nowMs = clock.monotonicMs();
    connections.tick(nowMs);
    for (const one of purchases) one.tick(nowMs);
    for (const one of standings) one.tick(nowMs);
    for (const one of dryShards) one.tick(nowMs);
    waiting.tick(nowMs);
  };
  const soldOut = new SoldOut(
    book,
    points(
      "soldOut",
      soldOutStore(nats, (shard) => connections.of(shard)),
    ),
    clock,
    systemRandom,
  );
  const loops = Promise.all([
    every(TICK_MS, tick),
    every(POLL_MS, () => orSilence(soldOut.poll(), "the sold-out flags cannot be asked for")),
    every(LOAD_MS, () => orSilence(soldOut.load(), "the winners cannot be read")),
    watchBucket({
      nats,
      book,
      clock,
      log,
      stop: ended.signal,
      shards: shards.length,
      onLoaded: () => {
        isLoaded = true;
      },
    }),
  ]);

  const isIdle = (): boolean =>
    dryShards.every((one) => one.count === 0) && purchases.every((one) => one.isIdle) && standings.every((one) => one.isIdle);
  return {
    buy: (request, answer) => (isStopping ? answer(refusals.stopping) : checkout.buy(request, answer)),
    refusal: (ticket) => (isStopping ? refusals.stopping : checkout.refusal(ticket)),
    standing: (ticket, key, answer) => (isStopping ? answer(refusals.stopping) : checkout.standing(ticket, key, answer)),
    waitFinal: (ticket, key, orderId, done) => {
      const read = tickets.read(ticket);
      if (read !== undefined) return wait({ saleId: read.saleId, uid: read.uid, key }, orderId, done);
      done(refusals.ticketInvalid);
      return () => undefined;
    },
    watchBuyer: (saleId, uid, push) => watching.add(saleId, uid, push),
    findSale: (saleId, done) => readSearch.find(saleId, done),
    saleView: (saleId) => book.get(saleId)?.view(clock.monotonicMs()),
    isReady: () => isLoaded && !isStopping && connections.isReady,
    drain: async () => {
      isStopping = true;
      for (const one of dryShards) one.release();
      const untilMs = clock.monotonicMs() + timeoutMs + TICK_MS * 2;
      while (!isIdle() && clock.monotonicMs() < untilMs) await clock.sleep(5);
      waiting.release();
      ended.abort();
      status.unsubscribe();
      connections.close();
      await loops;
    },
  };
};
