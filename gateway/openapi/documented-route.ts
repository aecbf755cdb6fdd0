import type { z } from "zod";
import { OutcomeCode, outcomeKinds } from "../buy/outcome.ts";

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: true;
  readonly description?: string;
  readonly schema: z.ZodType;
  readonly example?: string;
}

/** Headers by their names: schemas, or the components that document.ts has. */
export type Headers = Readonly<Record<string, z.ZodType | "RetryAfter" | "Time">>;

/** An answer that is not a problem. */
export interface GoodAnswer {
  readonly status: number;
  readonly description: string;
  readonly headers?: Headers;
  /** its JSON; undefined = it has no body */
  readonly schema?: z.ZodType;
  /** the codes of the outcome table that it may have */
  readonly codes?: readonly OutcomeCode[];
}

/** A problem that a route may answer. */
export interface Refusal {
  readonly code: OutcomeCode;
  readonly status: number;
  readonly meaning: string;
}

export interface DocumentedRoute {
  readonly method: "get" | "post";
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly body?: z.ZodType;
  readonly good: readonly GoodAnswer[];
  readonly refusals: readonly Refusal[];
  /** of a WebSocket, by who sends them */
  readonly frames?: { readonly up: readonly z.ZodType[]; readonly down: readonly z.ZodType[] };
}

const MEANINGS: Readonly<Partial<Record<OutcomeCode, string>>> = {
  sold_out: "nothing left",
  limit_reached: "limit used up by other purchases",
  rejected: "reserved once but refused when stored",
  not_survived: "reserved once but lost in a fail-over before it was stored: buy again",
  units_moving:
    "no unit here at the moment, though the sale is not sold out: units are on their way, or fewer are left than were asked for",
  rate_limited: "too many requests",
  not_open: "before the window (with opensAt and Retry-After)",
  closed: "the sale is over",
  paused: "the sale is paused",
  recovering: "the shard of this purchase is in recovery",
  busy: "too much waits already, or the shard's Redis takes no writes; nothing was taken",
  try_again: "the outcome is unknown: ask again, a first answer stands",
  ticket_invalid: "malformed or forged",
  ticket_expired: "expired",
  sale_unknown: "the ticket's sale does not exist",
  too_large: "the body is above 1 kB",
  origin_not_allowed: "a page of an origin that is neither ours nor listed; nothing was done",
};

/** A refusal with the outcome table's status. */
export const refusal = (code: OutcomeCode, meaning = MEANINGS[code] ?? ""): Refusal => ({
  code,
  status: outcomeKinds[code].status,
  meaning,
});

/** What every address may answer: HTTP tells more apart than the outcome table does. */
export const everyRefusal: readonly Refusal[] = [
  refusal(
    OutcomeCode.badRequest,
    "malformed: framing, Host, address, body, Idempotency-Key; `detail` names the field; the connection is closed where framing is in doubt",
  ),
  { code: OutcomeCode.tooLarge, status: 431, meaning: "the header block is above 8 kB or 64 headers" },
];

/** What every address may answer whose handler can break. */
export const fault: Refusal = { code: OutcomeCode.tryAgain, status: 500, meaning: "something broke; the outcome is unknown, ask again" };
