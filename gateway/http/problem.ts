import { isoTime } from "#protocol/iso-time";
import type { OrderView } from "../buy/order-states.ts";
import { OutcomeCode, outcomeKinds, outcomeStatus, refusals, type Outcome } from "../buy/outcome.ts";
import { bytesOf, headText, makeAnswer, type Answer } from "./answer.ts";

/** What each refusal says to a person when the service says nothing better. Never matched on. */
const DETAILS: Readonly<Record<OutcomeCode, string>> = {
  reserved: "The units are yours; the order is being stored.",
  confirmed: "The order is stored.",
  none: "You have no order in this sale.",
  sold_out: "Nothing is left. A unit can come back; then buying is possible again.",
  limit_reached: "Your other purchases in this sale use your limit up.",
  not_survived: "The reservation did not survive a fail-over; buy again.",
  units_moving: "None is to be had at the moment, and the sale is not sold out: units may be on their way.",
  rejected: "The units were reserved, but the order was refused when it was stored.",
  rate_limited: "You ask too often; wait as long as Retry-After says.",
  not_open: "Come back when the sale opens.",
  closed: "The sale is over.",
  paused: "The sale is paused and will go on.",
  recovering: "A part of the system is being restored; nothing was taken by this request.",
  busy: "Too much is waiting already; nothing was taken by this request.",
  try_again: "It could not be found out: ask again. A first answer, if there was one, stands.",
  ticket_invalid: "The ticket is malformed or was not issued here.",
  ticket_expired: "Get a new ticket.",
  sale_unknown: "There is no such sale.",
  not_found: "There is nothing at this address.",
  bad_request: "The request cannot be understood.",
  too_large: "The request is larger than anything this service takes.",
  origin_not_allowed: "Nothing was done. DOORBUSTER_ALLOWED_ORIGINS lists the origins whose pages may buy.",
};

const orderFields = ({ state, payByMs }: OrderView): Record<string, unknown> => ({
  state,
  payBy: payByMs === null ? null : (isoTime(payByMs) ?? null),
});

/** JSON fields of an outcome that both channels show; `code` first. */
export const outcomeFields = (outcome: Outcome): Record<string, unknown> => ({
  code: outcome.code,
  ...(outcome.orderId === undefined ? {} : { orderId: outcome.orderId }),
  ...(outcome.units === undefined ? {} : { units: outcome.units }),
  ...(outcome.opensAtMs === undefined ? {} : { opensAt: isoTime(outcome.opensAtMs) }),
  ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
  ...(outcome.order === undefined ? {} : { order: orderFields(outcome.order) }),
});

export const outcomeDetail = (outcome: Outcome): string => outcome.detail ?? DETAILS[outcome.code];

/** Whole seconds, at least one; undefined where asking again makes no difference. */
const retryAfterSeconds = (outcome: Outcome): number | undefined =>
  outcome.retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(outcome.retryAfterMs / 1_000));

const NO_STORE = { "Cache-Control": "no-store" } as const;

/**
 * An outcome as problem+json (RFC 9457).
 * @param status where HTTP tells apart what the outcome table does not: 405 and 431
 */
export const problem = (outcome: Outcome, status = outcomeStatus(outcome), headers: Readonly<Record<string, string>> = {}): Answer => {
  const seconds = retryAfterSeconds(outcome);
  return makeAnswer(
    status,
    {
      "Content-Type": "application/problem+json",
      ...NO_STORE,
      ...(seconds === undefined ? {} : { "Retry-After": String(seconds) }),
      ...(status === 401 ? { "WWW-Authenticate": "Ticket" } : {}),
      ...headers,
    },
    JSON.stringify({ ...outcomeFields(outcome), title: outcomeKinds[outcome.code].title, status, detail: outcomeDetail(outcome) }),
  );
};

/** The answer to an outcome that never differs (a frozen one), by identity: the flood's answers are looked up, not made. */
const constant = new WeakMap<Outcome, Answer>();

/** Others repeat for as long as the second does (Retry-After): a small table of the latest, emptied when it is full. */
const recent = new Map<string, Answer>();
const RECENT_MOST = 1_024;

export const problemOf = (outcome: Outcome): Answer => {
  const made = constant.get(outcome);
  if (made !== undefined) return made;
  if (Object.isFrozen(outcome)) {
    const answer = problem(outcome);
    constant.set(outcome, answer);
    return answer;
  }
  if (outcome.orderId !== undefined || outcome.detail !== undefined || outcome.reason !== undefined) return problem(outcome);
  const key = `${outcome.code} ${retryAfterSeconds(outcome) ?? ""} ${outcome.opensAtMs ?? ""}`;
  let answer = recent.get(key);
  if (answer === undefined) {
    if (recent.size >= RECENT_MOST) recent.clear();
    answer = problem(outcome);
    recent.set(key, answer);
  }
  return answer;
};

const json = { "Content-Type": "application/json", ...NO_STORE };

/** Status line and headers of a purchase's answer, complete but for the ticket and the order at the end of Location. */
export const purchaseHeads = (buyUrl: string): Readonly<Record<200 | 201 | 202, string>> => {
  const head = (status: number): string => `${headText(status, json)}\r\nLocation: ${buyUrl}`;
  return { 200: head(200), 201: head(201), 202: head(202) };
};

/** Body of reserved and confirmed; an order id needs no escape. */
export const purchaseBody = (outcome: Outcome): string =>
  `{"code":"${outcome.code}","orderId":"${outcome.orderId ?? ""}","units":${outcome.units ?? 1}}`;

export const jsonHead: ArrayBuffer = bytesOf(headText(200, json));

/** Answers of the wrapper itself. */
export const edgeAnswers = Object.freeze({
  badFraming: problem({
    code: OutcomeCode.badRequest,
    detail: "Content-Length, Transfer-Encoding: one Content-Length that is a number, or one Transfer-Encoding that is chunked, or neither.",
  }),
  badHost: problem({ code: OutcomeCode.badRequest, detail: "Host: exactly one, a name or an address and perhaps a port." }),
  badEscape: problem({
    code: OutcomeCode.badRequest,
    detail: "The address: a % is followed by two hexadecimal digits, and what they spell is UTF-8. A ticket needs no escapes.",
  }),
  proxyForged: problem({
    code: OutcomeCode.badRequest,
    detail: "PROXY protocol is taken from trusted proxies only (DOORBUSTER_TRUSTED_PROXIES).",
  }),
  headTooLarge: problem({ code: OutcomeCode.tooLarge, detail: "The header block is too large." }, 431),
  bodyTooLarge: problem({ code: OutcomeCode.tooLarge, detail: "The body is too large." }),
  bodyUnwanted: problem({ code: OutcomeCode.badRequest, detail: "This request takes no body." }),
  bodySlow: problem({ code: OutcomeCode.badRequest, detail: "The body did not arrive in time." }),
  notFound: problem({ code: OutcomeCode.notFound }),
  originNotAllowed: problem({ code: OutcomeCode.originNotAllowed }),
  fault: problem(
    { ...refusals.outcomeUnknown, detail: "Something broke while the request was handled. Ask again: a first answer stands." },
    500,
  ),
});
