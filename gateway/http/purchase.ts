import { z } from "zod";
import { isId } from "#protocol/ids";
import type { BuyRequest } from "../buy/service.ts";
import { issuesText } from "#protocol/zod-issues";
import type { Exchange } from "./exchange.ts";
import type { RequestHead } from "./request-head.ts";

/** The body of a purchase, and what a buy frame has beside it. */
export const purchaseSchema = z.strictObject({ units: z.int().min(1).max(1_000).default(1) });

/** @returns units, or what is wrong with the body as a sentence */
export const readUnits = (body: string): number | string => {
  if (body === "") return 1;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return "The body is not JSON.";
  }
  const result = purchaseSchema.safeParse(value);
  if (result.success) return result.data.units;
  return issuesText(result.error);
};

/** @returns the purchase key, empty without one; undefined if there are several or it is not `^[A-Za-z0-9_-]{1,64}$` */
export const readKey = (head: RequestHead): string | undefined => {
  if (head.idempotencyKeys === 0) return "";
  return head.idempotencyKeys === 1 && isId(head.idempotencyKey) ? head.idempotencyKey : undefined;
};

/** A purchase as the service takes it; the address is looked up only if the service comes to the address bucket. */
export class HttpPurchase implements BuyRequest {
  readonly ticket: string;
  readonly units: number;
  readonly key: string;
  readonly #exchange: Exchange;

  constructor(exchange: Exchange, units: number, key: string) {
    this.ticket = exchange.parameter;
    this.units = units;
    this.key = key;
    this.#exchange = exchange;
  }

  get address(): string {
    return this.#exchange.address;
  }
}
