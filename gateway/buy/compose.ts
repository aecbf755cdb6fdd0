import { Admission } from "../admission/admission.ts";
import { drawSeed } from "../admission/hash.ts";
import { ReadAdmission } from "../admission/read-admission.ts";
import { SaleBook } from "../sales/book.ts";
import { SaleSearch } from "../sales/sale-search.ts";
import { SoldOut } from "../sales/sold-out.ts";
import { archivedOperation, type ArchivedPurchase } from "./archived.ts";
import { Batcher } from "./batcher.ts";
import { Checkout, type BuyRequest } from "./checkout.ts";
import type { OutcomeCounts } from "./outcome-counts.ts";
import { OrderStates } from "./order-states.ts";
import { OutcomeCode, refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import type { BuyPolicy } from "./policy.ts";
import { rateLimited } from "./rate-limited.ts";
import type { BuyPorts, Loop } from "./service-ports.ts";
import type { BuyService } from "./service.ts";
import { ShardQueues } from "./shard-queues.ts";
import { TurnClock } from "./turn-clock.ts";
import { Waiting } from "./waiting.ts";
import { Watching } from "./watching.ts";

/** Between two looks of a drain whether everybody has been answered. */
const DRAIN_LOOK_MS = 5;

/** Plain numbers of a running service, for whoever measures it. */
export interface BuyReadings {
  /** purchases answered, by code */
  counts(): OutcomeCounts;
  /** requests that wait to be sent, by shard */
  queued(): readonly number[];
  /** answers held until the order is final */
  waiting(): number;
  /** purchases that wait for units to come to their shard, by shard */
  dryWaiting(): readonly number[];
}

export interface ComposedBuyService extends BuyService {
  readonly readings: BuyReadings;
}

interface Parts {
  readonly book: SaleBook;
  /** by shard */
  readonly shards: readonly ShardQueues[];
  /** of archived sales */
  readonly archived: Batcher<ArchivedPurchase, unknown>;
  readonly waiting: Waiting;
  readonly watching: Watching;
  readonly checkout: Checkout;
  /** as a flood may read it */
  readonly turnClock: TurnClock;
  readonly reads: ReadAdmission;
  readonly orders: OrderStates;
  /** for those who only look: who asks for sales that there are not must not stand in the way of buyers */
  readonly readSearch: SaleSearch;
  readonly soldOut: SoldOut;
}

const orderStatesOn = ({ clock, turn, orders, onFault }: BuyPorts): OrderStates =>
  new OrderStates({ clock, turn, store: orders, onFault: (error) => onFault(error, "the workers cannot be asked about orders") });

const partsOf = (ports: BuyPorts, policy: BuyPolicy, stop: AbortSignal): Parts => {
  const { clock, wallClock, turn, random, tickets } = ports;
  const book = new SaleBook();
  const searching = { book, clock, findSales: ports.findSales, stop };
  const search = new SaleSearch(searching);
  // what is found is in the book then: it is asked for once more by who asks again
  const missing = (saleId: string): void => search.find(saleId, () => undefined);
  const shards = ports.shards.map((store, shard) => new ShardQueues({ shard, store, book, missing, ports, policy }));
  const archived = new Batcher(archivedOperation(ports.purchaseOrders), {
    clock,
    turn,
    queueLimit: policy.queueLimit,
    timeoutMs: policy.decisionTimeoutMs,
    onFault: (error) => ports.onFault(error, "the workers could not be asked for orders of an archived sale"),
  });
  const watching = new Watching();
  const waiting = new Waiting((shard, purchase, onOutcome) => {
    const sale = book.get(purchase.saleId);
    if (sale?.isArchived === true) return checkout.lookUp(sale, { ...purchase, otherwise: refusals.none }, onOutcome);
    const queue = shards[shard]?.standings;
    const refusal = queue === undefined ? refusals.recovering : queue.join(purchase.saleId, purchase, onOutcome, clock.monotonicMs());
    if (refusal !== undefined) onOutcome(refusal);
  }, policy.mostWaiting);
  const orders = orderStatesOn(ports);
  const seed = drawSeed(random);
  const turnClock = new TurnClock(clock, turn);
  const reads = new ReadAdmission(policy.reads, seed);
  const checkout = new Checkout({
    clock: turnClock,
    wallClock,
    tickets,
    book,
    search,
    admission: new Admission(policy.limits, seed),
    reads,
    shards,
    archived,
    orders,
    onReserved: (saleId, { uid, key }, { orderId }) => {
      // A lost event would leave a socket waiting for ever: who watches is waited for like a held answer.
      if (orderId === undefined || !watching.isWatched(saleId, uid)) return;
      const push = (final: Outcome): void => {
        if (final.code !== OutcomeCode.reserved) watching.push(saleId, uid, final);
      };
      waiting.add({ saleId, uid, key }, orderId, push, clock.monotonicMs());
    },
  });
  return {
    book,
    shards,
    archived,
    waiting,
    watching,
    checkout,
    turnClock,
    reads,
    orders,
    readSearch: new SaleSearch(searching),
    soldOut: new SoldOut(book, ports.soldOut, clock, random, policy.winnerSlots),
  };
};

/** Starts the loops; @returns resolves when all have ended, after `stop` */
const runLoops = (
  { shards, archived, waiting, soldOut }: Parts,
  ports: BuyPorts,
  policy: BuyPolicy,
  stop: AbortSignal,
): Promise<unknown> => {
  const every = async (loop: Loop, step: () => void | Promise<void>): Promise<void> => {
    while (!stop.aborted) {
      await ports.untilDue(loop, stop);
      await step();
    }
  };
  const tick = (): void => {
    const nowMs = ports.clock.monotonicMs();
    ports.connections.tick(nowMs);
    for (const shard of shards) shard.tick(nowMs);
    archived.tick(nowMs);
    waiting.tick(nowMs);
  };
  const isHolding = (): boolean => waiting.count > 0 || !archived.isIdle || shards.some((shard) => !shard.isIdle);
  const always = (): boolean => true;
  // Silence of a store is expected: what was known runs out by itself, and Redis is asked.
  const poll = (): Promise<void> => soldOut.poll().catch((error) => ports.onFault(error, "the sold-out flags cannot be asked for"));
  const load = (): Promise<void> => soldOut.load().catch((error) => ports.onFault(error, "the winners cannot be read"));
  return Promise.all([
    every({ name: "tick", everyMs: policy.tickMs, isNeeded: isHolding }, tick),
    every({ name: "sold-out poll", everyMs: policy.soldOutPollMs, isNeeded: always }, poll),
    every({ name: "winners load", everyMs: policy.winnersLoadMs, isNeeded: always }, load),
  ]);
};

/** What is said of the order before it is known here must not be missed by who will wait for it. */
const buyExpected = ({ checkout, waiting }: Parts, request: BuyRequest, onOutcome: OnOutcome): void => {
  const isHere = waiting.expect();
  checkout.buy(request, (outcome) => {
    onOutcome(outcome);
    isHere();
  });
};

const refusingOf = (shards: readonly ShardQueues[]): ReadonlyMap<number, string> => {
  const words = new Map<number, string>();
  for (const [shard, { refusedBy }] of shards.entries()) if (refusedBy !== undefined) words.set(shard, refusedBy);
  return words;
};

/** Hears what the workers say. @returns ends it */
const followWorkers = ({ waiting, watching, orders }: Parts, ports: BuyPorts): (() => void) => {
  const unfollowStatus = ports.followStatus({
    isNeeded: () => waiting.isListening || !watching.isEmpty,
    onEvent: (event) => {
      watching.onStatus(event);
      waiting.onStatus(event);
    },
  });
  const unfollowOrders = ports.followOrders({
    isNeeded: () => !orders.isEmpty,
    onChanged: (orderIds) => orders.onChanged(orderIds),
  });
  return () => {
    unfollowStatus();
    unfollowOrders();
  };
};

/** Puts the service together and keeps it running until `drain`. Everybody does it with this: gateways and simulation. */
export const composeBuyService = (ports: BuyPorts, policy: BuyPolicy): ComposedBuyService => {
  const { clock, tickets } = ports;
  const ended = new AbortController();
  const parts = partsOf(ports, policy, ended.signal);
  const { book, shards, archived, waiting, watching, checkout, orders, turnClock, reads, readSearch } = parts;
  const limited = (waitMs: number): Outcome | undefined => (waitMs > 0 ? rateLimited(waitMs) : undefined);
  const isIdle = (): boolean => archived.isIdle && shards.every((shard) => shard.isIdle);
  let isLoaded = false;
  let isStopping = false;
  const onLoaded = (): void => {
    isLoaded = true;
  };
  const unfollow = followWorkers(parts, ports);
  const running = Promise.all([runLoops(parts, ports, policy, ended.signal), ports.followSales(book, onLoaded, ended.signal)]);
  return {
    buy: (request, onOutcome) => {
      if (isStopping) onOutcome(refusals.stopping);
      else if (request.waits === true) buyExpected(parts, request, onOutcome);
      else checkout.buy(request, onOutcome);
    },
    refusal: (ticket) => (isStopping ? refusals.stopping : checkout.refusal(ticket)),
    standing: (request, onOutcome) => (isStopping ? onOutcome(refusals.stopping) : checkout.standing(request, onOutcome)),
    waitFinal: (ticket, key, orderId, onFinal) => {
      const read = tickets.read(ticket);
      if (read !== undefined) return waiting.add({ saleId: read.saleId, uid: read.uid, key }, orderId, onFinal, clock.monotonicMs());
      onFinal(refusals.ticketInvalid);
      return () => undefined;
    },
    watchBuyer: (saleId, uid, onPush) => watching.add(saleId, uid, onPush),
    findSale: (saleId, done) => readSearch.find(saleId, done),
    readRefusal: (reader) => limited(reads.publicRead(reader, turnClock.monotonicMs())),
    searchRefusal: (reader) => limited(reads.countedRead(reader, turnClock.monotonicMs())),
    saleView: (saleId) => book.get(saleId)?.view(turnClock.monotonicMs()),
    refusing: () => refusingOf(shards),
    isReady: () => isLoaded && !isStopping && ports.shards.some((store) => store.isReady()),
    drain: async () => {
      isStopping = true;
      for (const shard of shards) shard.release();
      const untilMs = clock.monotonicMs() + policy.decisionTimeoutMs + policy.tickMs * 2;
      while (!isIdle() && clock.monotonicMs() < untilMs) await clock.sleep(DRAIN_LOOK_MS);
      waiting.release();
      orders.release();
      ended.abort();
      unfollow();
      ports.connections.close();
      await running;
    },
    readings: {
      counts: () => checkout.counts,
      queued: () => shards.map((shard) => shard.queued),
      waiting: () => waiting.count,
      dryWaiting: () => shards.map((shard) => shard.dryWaiting),
    },
  };
};
