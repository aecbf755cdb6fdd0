import { rateLimited } from "../../gateway/buy/rate-limited.ts";
import type { BuyRequest, BuyService, Cancel, Reader, SaleView, StandingRequest } from "../../gateway/buy/service.ts";
import { Found } from "../../gateway/sales/sale-search.ts";
import { refusals, type Outcome } from "../../gateway/buy/outcome.ts";
import { readTicket, verifyTicket, type TicketKeys } from "../../gateway/identity/ticket.ts";
import { saleRecord } from "./sale-record.ts";

export const SALE = "sale-1";
export const OPENS_AT_MS = 4_000_000_000_000;

const reserved = (uid: string, units: number): Outcome => ({ code: "reserved", orderId: `0-1-${uid.length}-0`, units });

/**
 * A buy service by hand, for the channels alone: what it says depends on the buyer's name. `win` is reserved a turn later,
 * `hang` only when the test says so, `throw` breaks; any other name is looked up among the constant refusals.
 */
export class ScriptedBuyService implements BuyService {
  readonly bought: { uid: string; units: number; key: string; address: string }[] = [];
  readonly looked: { uid: string; key: string; address: string }[] = [];
  /** of who reads sales from above the ceiling */
  readonly readers: string[] = [];
  isReadLimited = false;
  readonly hanging: (() => void)[] = [];
  readonly waiting = new Map<string, (outcome: Outcome) => void>();
  readonly watching = new Map<string, Set<(outcome: Outcome) => void>>();
  readonly #keys: TicketKeys;
  /** what `refusing` says */
  readonly refused = new Map<number, string>();
  ready = true;
  drained = false;
  view: SaleView = {
    record: saleRecord({ id: SALE, title: "Sale", totalUnits: 5, priceMinor: 1, closesAtMs: OPENS_AT_MS }),
    soldOut: false,
    etag: '"v1"',
    body: Buffer.from('{"id":"sale-1","title":"限量"}'),
  };

  constructor(keys: TicketKeys) {
    this.#keys = keys;
  }

  buy(request: BuyRequest, answer: (outcome: Outcome) => void): void {
    const read = this.#admitted(request.ticket);
    if ("code" in read) return answer(read);
    const { uid } = read;
    const { units, key, address } = request;
    this.bought.push({ uid, units, key, address });
    if (uid === "throw") throw new Error("a broken service");
    if (uid === "win") return void setImmediate(() => answer(reserved(uid, units)));
    if (uid === "hang") return void this.hanging.push(() => answer(reserved(uid, units)));
    if (uid === "again") return answer({ code: "confirmed", orderId: "0-1-5-0", units, repeat: true });
    if (uid === "rejected") return answer({ code: "rejected", orderId: "0-1-8-0", units, reason: "quota" });
    if (uid === "early") return answer({ code: "not_open", opensAtMs: OPENS_AT_MS, retryAfterMs: 61_500 });
    if (uid === "often") return answer({ code: "rate_limited", retryAfterMs: 1_200 });
    return answer(Object.entries(refusals).find(([name]) => name === uid)?.[1] ?? refusals.soldOut);
  }

  /** `crowd` and what is no ticket are refused before `buy`; `throwEarly` breaks here. */
  refusal(ticket: string): Outcome | undefined {
    const read = readTicket(ticket);
    if (read === undefined) return refusals.ticketInvalid;
    if (read.uid === "crowd") return refusals.soldOut;
    if (read.uid === "throwEarly") throw new Error("a broken service");
    return undefined;
  }

  standing({ ticket, key, address }: StandingRequest, answer: (outcome: Outcome) => void): void {
    const read = this.#admitted(ticket);
    if ("code" in read) return answer(read);
    const { uid } = read;
    this.looked.push({ uid, key, address });
    if (uid === "often") return answer(rateLimited(1_200));
    if (uid === "win") return void setImmediate(() => answer({ ...reserved(uid, 1), ...(key === "" ? {} : { reason: key }) }));
    const confirmed: Outcome = { code: "confirmed", orderId: "0-1-5-0", units: 1, repeat: true };
    if (uid === "again") return answer(confirmed);
    if (uid === "unpaid") return answer({ ...confirmed, order: { state: "pending_payment", payByMs: OPENS_AT_MS } });
    if (uid === "paid") return answer({ ...confirmed, order: { state: "paid", payByMs: null } });
    if (uid === "neverDue") return answer({ ...confirmed, order: { state: "pending_payment", payByMs: Number.MAX_SAFE_INTEGER } });
    if (uid === "rejected") return answer({ code: "rejected", orderId: "0-1-8-0", units: 1, reason: "quota" });
    if (uid === "recovering") return answer(refusals.recovering);
    return answer(refusals.none);
  }

  waitFinal(_ticket: string, _key: string, orderId: string, done: (outcome: Outcome) => void): Cancel {
    this.waiting.set(orderId, done);
    return () => this.waiting.delete(orderId);
  }

  watchBuyer(saleId: string, uid: string, push: (outcome: Outcome) => void): Cancel {
    const name = `${saleId} ${uid}`;
    const pushes = this.watching.get(name) ?? new Set();
    this.watching.set(name, pushes.add(push));
    return () => pushes.delete(push);
  }

  push(uid: string, outcome: Outcome): void {
    for (const push of this.watching.get(`${SALE} ${uid}`) ?? []) push(outcome);
  }

  saleView(saleId: string): SaleView | undefined {
    return saleId === SALE ? this.view : undefined;
  }

  readRefusal(reader: Reader): Outcome | undefined {
    return this.isReadLimited ? this.searchRefusal(reader) : undefined;
  }

  searchRefusal({ address }: Reader): Outcome | undefined {
    this.readers.push(address);
    return this.isReadLimited ? rateLimited(1_200) : undefined;
  }

  findSale(saleId: string, done: (found: Found) => void): void {
    queueMicrotask(() => done(saleId === "silent" ? Found.silence : Found.none));
  }

  refusing(): ReadonlyMap<number, string> {
    return this.refused;
  }

  isReady(): boolean {
    return this.ready;
  }

  async drain(): Promise<void> {
    this.drained = true;
    for (const answer of this.hanging.splice(0)) answer();
  }

  #admitted(ticket: string): { readonly uid: string } | Outcome {
    const read = readTicket(ticket);
    if (read === undefined) return refusals.ticketInvalid;
    if (read.saleId !== SALE) return refusals.saleUnknown;
    const verdict = verifyTicket(this.#keys, ticket, Date.now());
    if (verdict !== "ok") return verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid;
    return read;
  }
}
