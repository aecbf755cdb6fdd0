import { isId } from "#protocol/ids";
import type { Clock } from "#protocol/ports";
import { packPurchase } from "#lua/stock/fields";
import type { Admission } from "../admission/admission.ts";
import type { ReadAdmission, Reader } from "../admission/read-admission.ts";
import type { SaleBook } from "../sales/book.ts";
import { WINDOW_SLACK_MS, type KnownSale } from "../sales/known-sale.ts";
import { Found, type SaleSearch } from "../sales/sale-search.ts";
import type { OrderStates } from "./order-states.ts";
import { OutcomeCode, refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import { zeroCounts, type OutcomeCounts } from "./outcome-counts.ts";
import type { ReadTicket } from "../identity/ticket.ts";
import type { PurchaseKey, Tickets, WallClock } from "./service-ports.ts";
import { notOpenUntil } from "./purchases.ts";
import { rateLimited } from "./rate-limited.ts";
import type { ShardQueues } from "./shard-queues.ts";
import type { ArchivedPurchase } from "./archived.ts";
import type { Batcher } from "./batcher.ts";

const MOST_UNITS = 1_000;

export interface CheckoutOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly wallClock: WallClock;
  readonly tickets: Tickets;
  readonly book: SaleBook;
  /** looks where the truth is for a sale that is not in the book */
  readonly search: Pick<SaleSearch, "find">;
  readonly admission: Admission;
  readonly reads: ReadAdmission;
  /** by shard */
  readonly shards: readonly ShardQueues[];
  /** purchases of archived sales */
  readonly archived: Pick<Batcher<ArchivedPurchase, unknown>, "join">;
  /** called before the answer for each `reserved` one */
  readonly onReserved: (saleId: string, purchase: PurchaseKey, outcome: Outcome) => void;
  readonly orders: Pick<OrderStates, "read">;
}

/** Whose purchase is asked about. */
export interface StandingRequest extends Reader {
  /** as received; not yet looked at */
  readonly ticket: string;
  /** the buyer's Idempotency-Key, empty by default; without meaning where the sale's limit is 1 */
  readonly key: string;
}

export interface BuyRequest extends StandingRequest {
  readonly units: number;
  /** the channel calls `waitFinal` in `onOutcome` if it is reserved: until then the service listens for what becomes of it */
  readonly waits?: boolean;
  /** of the buyer's own trace (W3C Trace Context), as the channel got it: nobody has checked it */
  readonly traceparent?: string;
}

const badUnits: Outcome = Object.freeze({ code: OutcomeCode.badRequest, detail: `units: an integer from 1 to ${MOST_UNITS}` });
const badKey: Outcome = Object.freeze({ code: OutcomeCode.badRequest, detail: "key: empty, or 1 to 64 of A-Z a-z 0-9 _ -" });
/** All that Redis has against a purchase that got as far as there. */
const moreThanLimit = (limit: number): Outcome => ({
  code: OutcomeCode.badRequest,
  detail: `units: at most ${limit}, the limit of a buyer in this sale`,
});

/**
 * The checks before Redis in their order, cheapest first (DESIGN 4.1), and the way into the shard's queues.
 * The buckets are looked at before the ticket's signature is computed and emptied only after it was found good: a
 * flood costs no signature, and forged tickets cannot drain the bucket of the buyer they name.
 */
export class Checkout {
  readonly counts: OutcomeCounts = zeroCounts();
  readonly #options: CheckoutOptions;

  constructor(options: CheckoutOptions) {
    this.#options = options;
  }

  buy(order: BuyRequest, answer: OnOutcome): void {
    const { clock, wallClock, book, tickets, admission } = this.#options;
    const read = tickets.read(order.ticket);
    if (read === undefined) return this.#say(refusals.ticketInvalid, answer);
    const sale = book.get(read.saleId);
    if (sale === undefined) return this.#buyUnknown(read, order, answer);
    const nowMs = clock.monotonicMs();
    const refusal = this.#refusalOf(sale, nowMs, read.uid, 0, read.uid.length);
    if (refusal !== undefined) return this.#say(refusal, answer);
    const waitMs = admission.peekAddress(order.address, nowMs);
    if (waitMs > 0) return this.#say(rateLimited(waitMs), answer);
    const verdict = tickets.verify(order.ticket, wallClock.nowMs());
    if (verdict !== "ok") {
      admission.takeAddress(nowMs);
      return this.#say(verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid, answer);
    }
    admission.take(sale.ceiling, nowMs);
    this.#reserve(sale, read, order, answer, nowMs);
  }

  /**
   * What most of a crowd hears: the checks that need nothing but the ticket's text, kept apart so that a channel can
   * ask before it makes anything for the request.
   * @returns what `buy` would answer in this tick, counted; undefined if it takes more to know
   */
  refusal(ticket: string): Outcome | undefined {
    const { clock, book, tickets } = this.#options;
    const found = tickets.find(ticket);
    let refusal: Outcome | undefined = refusals.ticketInvalid;
    if (found !== undefined) {
      const sale = book.find(ticket, found.saleAt, found.saleEnd);
      refusal = sale && this.#refusalOf(sale, clock.monotonicMs(), ticket, found.uidAt, found.uidEnd);
    }
    if (refusal !== undefined) this.counts[refusal.code] += 1;
    return refusal;
  }

  /** @param text holds the uid from `from` to before `to` */
  #refusalOf(sale: KnownSale, nowMs: number, text: string, from: number, to: number): Outcome | undefined {
    if (!sale.hasOpened) {
      const wallNowMs = this.#options.wallClock.nowMs();
      const { opensAtMs } = sale.record;
      if (wallNowMs < opensAtMs - WINDOW_SLACK_MS) return notOpenUntil(opensAtMs, wallNowMs);
      sale.hasOpened = true;
    }
    // whoever holds something of it hears the first answer from Redis, on day three, too (P3)
    if (sale.isLost(nowMs, text, from, to)) return sale.isOver(nowMs, this.#options.wallClock) ? refusals.closed : refusals.soldOut;
    const waitMs = this.#options.admission.peek(sale.ceiling, nowMs, text, from, to);
    return waitMs > 0 ? rateLimited(waitMs) : undefined;
  }

  standing(request: StandingRequest, answer: OnOutcome): void {
    const { clock, tickets, wallClock, reads } = this.#options;
    const read = tickets.read(request.ticket);
    if (read === undefined) return answer(refusals.ticketInvalid);
    const nowMs = clock.monotonicMs();
    const waitMs = reads.peek(read.uid, request, nowMs);
    if (waitMs > 0) return answer(rateLimited(waitMs));
    const verdict = tickets.verify(request.ticket, wallClock.nowMs());
    if (verdict !== "ok") {
      reads.takeAddress(nowMs);
      return answer(verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid);
    }
    reads.takeBuyer(nowMs);
    this.#look(read, request.key, answer);
  }

  #look({ saleId, uid }: ReadTicket, key: string, answer: OnOutcome): void {
    const { clock, book, shards, orders } = this.#options;
    const sale = book.get(saleId);
    if (sale === undefined) return this.#searched(saleId, answer, () => this.#look({ saleId, uid }, key, answer));
    const purchase = { uid, key: sale.keyOf(key) };
    const withOrder: OnOutcome = (standing) => {
      if (standing.code !== OutcomeCode.confirmed || standing.orderId === undefined) return answer(standing);
      return orders.read(saleId, purchase, standing.orderId, (order) => answer(order === undefined ? standing : { ...standing, order }));
    };
    if (sale.isArchived) return this.lookUp(sale, { ...purchase, otherwise: refusals.none }, withOrder);
    const queue = shards[sale.shardOf(uid)]?.standings;
    const refusal = queue === undefined ? refusals.recovering : queue.join(saleId, purchase, withOrder, clock.monotonicMs());
    if (refusal !== undefined) answer(refusal);
  }

  /** A purchase of an archived sale: Postgres answers. */
  lookUp(sale: KnownSale, { uid, key, otherwise }: ArchivedPurchase, answer: OnOutcome): void {
    const { archived, clock } = this.#options;
    const purchase = { uid, key: sale.keyOf(key), otherwise };
    const refusal = archived.join(sale.record.id, purchase, answer, clock.monotonicMs());
    if (refusal !== undefined) answer(refusal);
  }

  /** A genuine ticket is worth a search; a forged one costs its address, as ever. */
  #buyUnknown(read: ReadTicket, order: BuyRequest, answer: OnOutcome): void {
    const { clock, wallClock, tickets, admission } = this.#options;
    const nowMs = clock.monotonicMs();
    const say: OnOutcome = (outcome) => this.#say(outcome, answer);
    const waitMs = admission.peek({ fullMs: 0 }, nowMs, read.uid) || admission.peekAddress(order.address, nowMs);
    if (waitMs > 0) return say(rateLimited(waitMs));
    const verdict = tickets.verify(order.ticket, wallClock.nowMs());
    if (verdict === "ok") return this.#searched(read.saleId, say, () => this.buy(order, answer));
    admission.takeAddress(nowMs);
    say(verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid);
  }

  /** Goes on if the sale is found; only the truth may say that there is none. */
  #searched(saleId: string, answer: OnOutcome, goOn: () => void): void {
    this.#options.search.find(saleId, (found) => {
      if (found === Found.found) goOn();
      else answer(found === Found.none ? refusals.saleUnknown : refusals.recovering);
    });
  }

  #reserve(sale: KnownSale, read: ReadTicket, order: BuyRequest, answer: OnOutcome, nowMs: number): void {
    const { units } = order;
    const { uid, saleId } = read;
    if (!Number.isInteger(units) || units < 1 || units > MOST_UNITS) return this.#say(badUnits, answer);
    if (order.key !== "" && !isId(order.key)) return this.#say(badKey, answer);
    const key = sale.keyOf(order.key);
    if (sale.isArchived) return this.lookUp(sale, { uid, key, otherwise: refusals.closed }, (outcome) => this.#say(outcome, answer));
    const queue = this.#options.shards[sale.shardOf(uid)]?.purchases;
    const packed = key === "" && units === 1 ? uid : packPurchase({ uid, key, units });
    const counted: OnOutcome = (outcome) => {
      if (outcome.code === OutcomeCode.reserved) this.#options.onReserved(saleId, { uid, key }, outcome);
      this.#say(outcome.code === OutcomeCode.badRequest ? moreThanLimit(sale.record.limitPerBuyer) : outcome, answer);
    };
    const refusal = queue === undefined ? refusals.recovering : queue.join(saleId, packed, counted, nowMs);
    if (refusal !== undefined) this.#say(refusal, answer);
  }

  #say(outcome: Outcome, answer: OnOutcome): void {
    this.counts[outcome.code] += 1;
    answer(outcome);
  }
}
