import type { Decision } from "../../lua/codes.ts";
import type { Reservation } from "../../lua/fields.ts";
import type { Position } from "../../lua/position.ts";

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
export interface ReadTicket {
  readonly keyId: string;
  readonly saleId: string;
  readonly uid: string;
  readonly expiresAtMs: number;
}

export interface Tickets {
  /** cheap, verifies nothing; undefined if the text is not a ticket */
  read(text: string): ReadTicket | undefined;
  verify(text: string, read: ReadTicket, nowMs: number): "ok" | "ticket_invalid" | "ticket_expired";
}

export interface ReserveAnswer {
  readonly decision: Decision;
  /** with won, reserved, confirmed, rejected */
  readonly reservation?: Reservation | undefined;
}

/** The whole batch could not be looked at: an epoch has to begin first, or the shard has no such sale. */
export interface Unanswered {
  readonly status: "recovering" | "unknown";
}

export type Reserved =
  | {
      readonly status: "ok";
      /** position of the entry, if anybody won */
      readonly position?: Position | undefined;
      /** units of the shard that are free after the batch */
      readonly left: number;
      readonly decisions: readonly ReserveAnswer[];
      readonly opensAtMs?: number | undefined;
    }
  | Unanswered;

export interface BuyerKey {
  readonly uid: string;
  readonly key: string;
}

export type Standing =
  | { readonly state: "none" }
  | { readonly state: "reserved" | "confirmed" | "rejected"; readonly reservation: Reservation };

export type Standings = { readonly status: "ok"; readonly standings: readonly Standing[] } | Unanswered;

/**
 * One shard's Redis, as the desk uses it. A rejected promise means that the outcome is unknown: the command may have
 * been executed, or may still be.
 */
export interface ShardStore {
  /** false: a call would fail without having been sent */
  isReady(): boolean;
  /** all of one sale, at most MAX_BATCH, packed as in lua/fields.ts; decided in this order, atomically */
  reserve(saleId: string, purchases: readonly string[]): Promise<Reserved>;
  standing(saleId: string, buyers: readonly BuyerKey[]): Promise<Standings>;
  /** gives the connection up and makes a new one: it has not answered for long, and a dead peer never says so */
  reset(): void;
}
