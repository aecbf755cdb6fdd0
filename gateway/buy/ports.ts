import type { Reserved } from "#lua/stock/reserve";
import type { Standings } from "#lua/stock/standing";
import type { ReadTicket, TicketPlaces } from "../identity/ticket.ts";

/** Wall clock: only to refuse early. Redis's own clock judges the window. */
export interface WallClock {
  /** ms since 1970, UTC */
  nowMs(): number;
}

/** The event loop: what is collected in one turn is sent together. */
export interface Turn {
  /** runs `flush` once, after the callbacks of this turn */
  atEnd(flush: () => void): void;
}

/** Tickets, as gateway/identity makes them. */
export interface Tickets {
  /** where the text names sale and buyer, good until the next call; verifies nothing; undefined if it is not a ticket */
  find(text: string): Readonly<TicketPlaces> | undefined;
  /** the same, cut out */
  read(text: string): ReadTicket | undefined;
  /** of a text that could be read */
  verify(text: string, nowMs: number): "ok" | "ticket_invalid" | "ticket_expired";
}

/** Names one purchase within a sale; `key` is empty where the sale's limit is 1. */
export interface PurchaseKey {
  readonly uid: string;
  readonly key: string;
}

/**
 * One shard's Redis, as the desk uses it. A rejected promise means that the outcome is unknown: the command may have
 * been executed, or may still be.
 */
export interface ShardStore {
  /** false: a call would fail without having been sent */
  isReady(): boolean;
  /** `purchases` of one sale, packed (lua/stock/fields.ts), at most 512; decided in this order, in one step */
  reserve(saleId: string, purchases: readonly string[]): Promise<Reserved>;
  standing(saleId: string, purchases: readonly PurchaseKey[]): Promise<Standings>;
  /** gives the connection up and makes a new one: it has not answered for long, and a dead peer never says so */
  reset(): void;
}
