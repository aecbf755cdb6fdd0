import type { SaleView } from "../sales/known-sale.ts";
import type { Found } from "../sales/sale-search.ts";
import type { Reader } from "../admission/read-admission.ts";
import type { BuyRequest, StandingRequest } from "./checkout.ts";
import type { OnOutcome, Outcome } from "./outcome.ts";

export type { Reader } from "../admission/read-admission.ts";
export type { BuyRequest, StandingRequest } from "./checkout.ts";
export type { SaleView } from "../sales/known-sale.ts";

/** Ends a wait or a watch; may be called more than once, and after the end. */
export type Cancel = () => void;

/**
 * Where purchases are decided. Knows neither HTTP nor WebSocket. Callbacks, not promises: the refusal of a flood must
 * not cost an allocation each.
 */
export interface BuyService {
  /** Calls `onOutcome` exactly once: in the same tick for what needs no Redis, later otherwise. */
  buy(request: BuyRequest, onOutcome: OnOutcome): void;
  /**
   * Asked before `buy` by a channel that would have to make something for it: `sold_out`, `closed`, `rate_limited`,
   * `not_open`, `ticket_invalid`, `busy`, if that is what `buy` would answer in this tick and the ticket alone tells.
   */
  refusal(ticket: string): Outcome | undefined;
  /**
   * This buyer's order, the truth behind every push: `none`, `reserved`, `confirmed`, `rejected`; or `ticket_invalid`,
   * `ticket_expired`, `rate_limited`, `sale_unknown`, `recovering`, `busy`, `try_again`.
   */
  standing(request: StandingRequest, onOutcome: OnOutcome): void;
  /**
   * Calls `onFinal` once, when the order is final: `confirmed` or `rejected`. Two more answers are possible: `reserved`,
   * when too many wait already or this process stops, and `not_survived` if the reservation was lost in a fail-over.
   * `ticket` and `key` are those of the purchase (its ticket was verified when it was bought; here it names the buyer);
   * without them a lost event could not be made up for by asking Redis.
   */
  waitFinal(ticket: string, key: string, orderId: string, onFinal: OnOutcome): Cancel;
  /**
   * Pushes each order of this buyer in this sale that becomes final (`confirmed`, `rejected`) as far as it becomes known
   * here, and `not_survived` if a reservation made here was lost in a fail-over. A convenience: `standing` is the truth.
   */
  watchBuyer(saleId: string, uid: string, onPush: OnOutcome): Cancel;
  saleView(saleId: string): SaleView | undefined;
  /** Asked before each answer from `saleView`, and counts it: `rate_limited`, if this process is busy with others' reads. */
  readRefusal(reader: Reader): Outcome | undefined;
  /** As `readRefusal`, before what costs more than cached bytes: `findSale`. */
  searchRefusal(reader: Reader): Outcome | undefined;
  /** Looks for a sale that `saleView` does not know. @param done called once */
  findSale(saleId: string, done: (found: Found) => void): void;
  /** the sales are known, a shard is connected, and `drain` was not called */
  isReady(): boolean;
  /** Shards whose server refused the last purchases that came to it, by the first word of its error: OOM, LOADING ... */
  refusing(): ReadonlyMap<number, string>;
  /** Refuses what is new as `busy`, answers what it holds (each within the decision time-out), then closes its connections. */
  drain(): Promise<void>;
}
