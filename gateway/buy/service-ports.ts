import type { DryHint } from "#protocol/hint";
import type { ListedSale } from "#protocol/listed-sale";
import type { Clock, Random } from "#protocol/ports";
import type { PurchaseOrder } from "#protocol/requests/purchase-orders";
import type { StatusEvent } from "#protocol/status";
import type { Reserved } from "#lua/stock/reserve";
import type { Standings } from "#lua/stock/standing";
import type { ReadTicket, TicketPlaces } from "../identity/ticket.ts";
import type { SaleBook } from "../sales/book.ts";
import type { SoldOutStore } from "../sales/sold-out.ts";

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
 * One shard's Redis, as the service uses it. A rejected promise means that the outcome is unknown: the command may have
 * been executed, or may still be. What a server refuses before it begins is an answer.
 */
export interface PurchaseStore {
  /** false: a call would fail without having been sent */
  isReady(): boolean;
  /** `purchases` of one sale, packed (lua/stock/fields.ts), at most 512; decided in this order, in one step */
  reserve(saleId: string, purchases: readonly string[]): Promise<Reserved>;
  standing(saleId: string, purchases: readonly PurchaseKey[]): Promise<Standings>;
  /** gives the connection up and makes a new one: it has not answered for long, and a dead peer never says so */
  reset(): void;
}

/** What the connections to the shards' servers need of the service; several shards may share one. */
interface ShardConnections {
  /** tries those anew whose greeting does not come; to be called several times a second */
  tick(nowMs: number): void;
  close(): void;
}

/** Who hears the workers' status events. */
export interface StatusListener {
  /** false: nobody waits, and the event need not even be read */
  isNeeded(): boolean;
  onEvent(event: StatusEvent): void;
}

/** The orders in Postgres. */
export interface OrderStore {
  /**
   * of at most 512 purchases of one sale: one each, in their order, null where there is none, undefined where it cannot be read; rejects if nobody
   * answers in time
   */
  ofPurchases(saleId: string, purchases: readonly PurchaseKey[]): Promise<readonly (PurchaseOrder | null | undefined)[]>;
}

/** Who hears that orders came into another state. */
export interface OrderListener {
  /** false: nothing is believed of any order, and the event need not even be read */
  isNeeded(): boolean;
  onChanged(orderIds: readonly string[]): void;
}

/** One of the service's loops. */
export interface Loop {
  readonly name: "tick" | "sold-out poll" | "winners load";
  readonly everyMs: number;
  /** whether its next step has anything to do */
  readonly isNeeded: () => boolean;
}

/** Called for every call of Redis that ended: its size, and its time in ms. */
type OnCall = (size: number, ms: number) => void;

/** The outside of the service: all that it knows of stores, clocks and chance. */
export interface BuyPorts {
  /** by shard */
  readonly shards: readonly PurchaseStore[];
  readonly connections: ShardConnections;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly turn: Turn;
  readonly random: Random;
  readonly tickets: Tickets;
  readonly soldOut: SoldOutStore;
  /** those of these sales that are in Postgres, read after the call; rejects if nobody answers in time */
  readonly findSales: (ids: readonly string[]) => Promise<readonly ListedSale[]>;
  /** the orders of at most 512 purchases of a sale in Postgres, read after the call, in their order; rejects if nobody answers in time */
  readonly purchaseOrders: (saleId: string, purchases: readonly PurchaseKey[]) => Promise<readonly (PurchaseOrder | null | undefined)[]>;
  /** keeps the book as the bucket of sales says until `stop`; `onLoaded`: all that was in it is in the book (again) */
  readonly followSales: (book: SaleBook, onLoaded: () => void, stop: AbortSignal) => Promise<void>;
  /** from now on; @returns ends it */
  readonly followStatus: (listener: StatusListener) => () => void;
  readonly orders: OrderStore;
  /** from now on; @returns ends it */
  readonly followOrders: (listener: OrderListener) => () => void;
  /** tells the coordinators that units are wanted on a shard; may get lost */
  readonly hintDry: (shard: number, hint: DryHint) => void;
  /** resolves when the loop's next step is due, or on `stop`; a gateway sleeps, whether or not the step is needed */
  readonly untilDue: (loop: Loop, stop: AbortSignal) => Promise<void>;
  readonly onPurchases: OnCall;
  readonly onStandings: OnCall;
  /** a shard's server refused a batch of purchases before it began. @param by the first word of its error: OOM, LOADING ... */
  readonly onRefused: (shard: number, by: string) => void;
  /** a call failed; @param what a few words for a person */
  readonly onFault: (error: unknown, what: string) => void;
}
