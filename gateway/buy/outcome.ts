import type { OrderView } from "./order-states.ts";

/**
 * What a buyer can be answered: the one table of DESIGN section 10. Channels render an outcome as an HTTP answer (refusals
 * as problem+json) or as a WebSocket frame; they add nothing to this table.
 */
export const OutcomeCode = {
  reserved: "reserved",
  confirmed: "confirmed",
  /** only an answer about a standing: this buyer has no order in this sale */
  none: "none",
  soldOut: "sold_out",
  limitReached: "limit_reached",
  rejected: "rejected",
  /** the order went down with its Redis before it was stored, and is no more */
  notSurvived: "not_survived",
  rateLimited: "rate_limited",
  notOpen: "not_open",
  closed: "closed",
  paused: "paused",
  /** none to be had here at the moment, and the sale is not sold out */
  unitsMoving: "units_moving",
  recovering: "recovering",
  busy: "busy",
  tryAgain: "try_again",
  ticketInvalid: "ticket_invalid",
  ticketExpired: "ticket_expired",
  saleUnknown: "sale_unknown",
  notFound: "not_found",
  badRequest: "bad_request",
  tooLarge: "too_large",
  /** only over HTTP: a page of this origin may not buy, and nothing was done */
  originNotAllowed: "origin_not_allowed",
} as const;
export type OutcomeCode = (typeof OutcomeCode)[keyof typeof OutcomeCode];

export interface Outcome {
  readonly code: OutcomeCode;
  /** reserved, confirmed, rejected */
  readonly orderId?: string;
  /** reserved, confirmed, rejected */
  readonly units?: number;
  /** true if this purchase was made by an earlier request: `confirmed` is then 200 instead of 201 */
  readonly repeat?: boolean;
  /** when to ask again; channels round it up to whole seconds for Retry-After */
  readonly retryAfterMs?: number;
  /** wall clock, ms since 1970: with `not_open` */
  readonly opensAtMs?: number;
  /** a sentence for a person; never matched on */
  readonly detail?: string;
  /** why Postgres refused it: with `rejected` */
  readonly reason?: string;
  /** what became of the order: only with an answer about a standing that is `confirmed`, and only if it is known */
  readonly order?: OrderView;
}

export interface OutcomeKind {
  /** HTTP status; see `outcomeStatus` for a repeat of a confirmed purchase */
  readonly status: number;
  /** the problem's title, the same for every occurrence (RFC 9457) */
  readonly title: string;
  /** asking the same again later may end otherwise; such an answer carries Retry-After */
  readonly retryable: boolean;
}

const kind = (status: number, title: string, retryable = false): OutcomeKind => Object.freeze({ status, title, retryable });

/**
 * A fact about one sale or one purchase is a 4xx, also where asking again may end otherwise. A 5xx says that a server or
 * a store behind it cannot decide at the moment: balancers that count 5xx take a whole gateway out.
 */
export const outcomeKinds: Readonly<Record<OutcomeCode, OutcomeKind>> = Object.freeze({
  reserved: kind(202, "Reserved"),
  confirmed: kind(201, "Confirmed"),
  none: kind(200, "No order"),
  // Not 410: a unit can come back, and 410 is cacheable.
  sold_out: kind(409, "Sold out"),
  limit_reached: kind(409, "Your limit is used up"),
  rejected: kind(409, "The order was refused"),
  not_survived: kind(409, "The reservation was lost", true),
  units_moving: kind(409, "No unit at the moment", true),
  rate_limited: kind(429, "Too many requests", true),
  not_open: kind(403, "The sale is not open yet", true),
  closed: kind(403, "The sale is over"),
  paused: kind(403, "The sale is paused", true),
  recovering: kind(503, "Recovering", true),
  busy: kind(503, "Busy", true),
  try_again: kind(503, "Try again", true),
  ticket_invalid: kind(401, "The ticket is not valid"),
  ticket_expired: kind(401, "The ticket has expired"),
  sale_unknown: kind(404, "No such sale"),
  not_found: kind(404, "Not found"),
  bad_request: kind(400, "The request is malformed"),
  too_large: kind(413, "The request is too large"),
  origin_not_allowed: kind(403, "Pages of this origin may not buy here"),
});

/** HTTP status of an answer to a purchase. */
export const outcomeStatus = (outcome: Outcome): number =>
  outcome.code === OutcomeCode.confirmed && outcome.repeat === true ? 200 : outcomeKinds[outcome.code].status;

/** Retry-After of an answer that has nothing better to say: long enough for a healthy restart, short for a person. */
export const RETRY_AFTER_MS = 1_000;

const refusal = (code: OutcomeCode, detail?: string): Outcome =>
  Object.freeze({
    code,
    ...(outcomeKinds[code].retryable ? { retryAfterMs: RETRY_AFTER_MS } : {}),
    ...(detail === undefined ? {} : { detail }),
  });

/** Given an outcome, once unless it says otherwise. */
export type OnOutcome = (outcome: Outcome) => void;

/** Answers that never differ: made once, so that refusing the flood allocates nothing. */
export const refusals = Object.freeze({
  none: refusal("none"),
  soldOut: refusal("sold_out"),
  limitReached: refusal("limit_reached"),
  closed: refusal("closed"),
  paused: refusal("paused"),
  recovering: refusal("recovering"),
  stalled: refusal("recovering", "The shard does not answer at the moment; nothing was taken by this request."),
  busy: refusal("busy"),
  refused: refusal("busy", "The shard takes no writes at the moment; nothing was taken by this request."),
  stopping: refusal("busy", "This gateway is stopping; nothing was taken by this request."),
  unitsMoving: refusal("units_moving"),
  fewerLeft: refusal("units_moving", "Fewer units are left than were asked for; ask for fewer."),
  unstocked: refusal("units_moving", "The stock has not arrived yet."),
  tryAgain: refusal("try_again"),
  outcomeUnknown: refusal("try_again", "The outcome is unknown, ask again: the first answer stands."),
  notSurvived: refusal("not_survived", "The reservation did not survive a fail-over; buy again."),
  ticketInvalid: refusal("ticket_invalid"),
  ticketExpired: refusal("ticket_expired"),
  saleUnknown: refusal("sale_unknown"),
  badRequest: refusal("bad_request"),
});
