import { z } from "zod";
import { ID_PATTERN, isId } from "#protocol/ids";
import type { BuyRequest, StandingRequest } from "../buy/service.ts";
import { issuesText } from "#protocol/zod-issues";
import type { Exchange } from "./exchange.ts";
import type { RequestHead } from "./request-head.ts";

/** The body of a purchase, as a buy frame has it, too; whatever its Content-Type says. */
export const purchaseSchema = z.strictObject({
  units: z.int().min(1).max(1_000).default(1),
  key: z
    .union([z.literal(""), z.string().regex(ID_PATTERN)])
    .default("")
    .describe("what Idempotency-Key says, for a page that wants no preflight; where both are given they are the same"),
});
export type PurchaseBody = Readonly<z.infer<typeof purchaseSchema>>;

const A_BODY = 'A body is {"units":1} (at most 1000), perhaps with "key" (as Idempotency-Key), or there is none.';

const ONE_UNIT: PurchaseBody = Object.freeze({ units: 1, key: "" });

/** @returns units and key, or what is wrong with the body as a sentence */
export const readPurchase = (body: string): PurchaseBody | string => {
  if (body === "") return ONE_UNIT;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return `body: not JSON. ${A_BODY}`;
  }
  const result = purchaseSchema.safeParse(value);
  if (result.success) return result.data;
  return `${issuesText(result.error)}. ${A_BODY}`;
};

const QUOTED = /^"(.*)"$/;

/**
 * The purchase key: bare, or as the string that the IETF draft of Idempotency-Key makes of it (RFC 9651 3.3.3), which is the same
 * key. No key has a character that would need an escape, and parameters are refused rather than dropped, because a client that
 * sends some may mean two keys by them.
 * @returns empty without one; undefined if there are several or it is not `^[A-Za-z0-9_-]{1,64}$`
 */
export const readKey = (head: RequestHead): string | undefined => {
  if (head.idempotencyKeys === 0) return "";
  if (head.idempotencyKeys > 1) return undefined;
  const key = QUOTED.exec(head.idempotencyKey)?.[1] ?? head.idempotencyKey;
  return isId(key) ? key : undefined;
};

/** A standing as the service takes it; the address is looked up only if the service comes to the address bucket. */
export class HttpStanding implements StandingRequest {
  readonly ticket: string;
  readonly key: string;
  protected readonly exchange: Exchange;

  constructor(exchange: Exchange, key: string) {
    this.ticket = exchange.parameter;
    this.key = key;
    this.exchange = exchange;
  }

  get address(): string {
    return this.exchange.address;
  }
}

/** A purchase, likewise. */
export class HttpPurchase extends HttpStanding implements BuyRequest {
  readonly units: number;
  readonly waits: boolean;

  constructor(exchange: Exchange, units: number, key: string, waits: boolean) {
    super(exchange, key);
    this.units = units;
    this.waits = waits;
  }

  get traceparent(): string {
    return this.exchange.traceparent;
  }
}
