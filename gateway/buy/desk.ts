import type { SaleRecord } from "../../coordinator/protocol/sale.ts";
import type { Outcome } from "./outcome.ts";

export interface BuyRequest {
  /** as received; not yet looked at */
  readonly ticket: string;
  /** key of the address bucket (admission/address.ts); empty = exempt */
  readonly address: string;
  readonly units: number;
  /** the buyer's Idempotency-Key; empty by default and where the sale's limit is 1 */
  readonly key: string;
}

/** Bytes of GET /sales/:id, made once a change and not once a read. */
export interface SaleView {
  readonly record: SaleRecord;
  readonly soldOut: boolean;
  /** a quoted strong validator (RFC 9110) of `body` */
  readonly etag: string;
  /** JSON; the server's time goes into a header, so that the bytes can be cached */
  readonly body: Buffer;
}

/** Ends a wait or a watch; may be called more than once, and after the end. */
export type Cancel = () => void;

/**
 * Where purchases are decided. Knows neither HTTP nor WebSocket. Callbacks, not promises: the refusal of a flood must
 * not cost an allocation each.
 */
export interface Desk {
  /** Calls `answer` exactly once: in the same tick for what needs no Redis, later otherwise. */
  buy(request: BuyRequest, answer: (outcome: Outcome) => void): void;
  /**
   * This buyer's order, the truth behind every push: `none`, `reserved`, `confirmed`, `rejected`; or `ticket_invalid`,
   * `ticket_expired`, `sale_unknown`, `recovering`, `busy`, `try_again`.
   */
  standing(ticket: string, key: string, answer: (outcome: Outcome) => void): void;
  /**
   * Calls `done` once, when the order is final: `confirmed` or `rejected`. Two more answers are possible: `reserved` at
   * once when too many wait already, and `try_again` if the reservation did not survive a fail-over.
   * `ticket` and `key` are those of the purchase (its ticket was verified when it was bought; here it names the buyer);
   * without them a lost event could not be made up for by asking Redis.
   */
  waitFinal(ticket: string, key: string, orderId: string, done: (outcome: Outcome) => void): Cancel;
  /** Pushes every change of this buyer's orders in this sale that becomes known here. A convenience: `standing` is the truth. */
  watchBuyer(saleId: string, uid: string, push: (outcome: Outcome) => void): Cancel;
  saleView(saleId: string): SaleView | undefined;
  /** the sales are known, a shard is connected, and `drain` was not called */
  isReady(): boolean;
  /** Refuses what is new as `busy`, answers what it holds (each within the decision time-out), then closes its connections. */
  drain(): Promise<void>;
}
