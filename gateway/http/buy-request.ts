import { isId } from "#protocol/ids";
import { parseOrderId } from "#protocol/order-id";
import { OutcomeCode } from "../buy/outcome.ts";
import type { Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";
import { askedWait } from "./held-answers.ts";
import { problem } from "./problem.ts";
import { readKey, readPurchase } from "./purchase.ts";

/** Query parameters of `/buy/:ticket`; a purchase's key is in its body, because a refusal is given without a look at these. */
export const ORDER = "order";
export const KEY = "key";
const WAIT = "wait";

const bad = (detail: string): Answer => problem({ code: OutcomeCode.badRequest, detail });
const badOrder = bad(`${ORDER}: the order id that the purchase was answered with`);
const badKey = bad('Idempotency-Key: one header with 1 to 64 of A-Z a-z 0-9 _ -, as it is or between ""; no escapes, no parameters.');
const badKeyParameter = bad(`${KEY}: one, 1 to 64 of A-Z a-z 0-9 _ -`);
const twoKeys = bad(`Idempotency-Key and ${KEY} name different purchases: give one of them.`);
const keyElsewhere = bad(`${KEY}: a purchase has it in the body, {"${KEY}":...}, or as Idempotency-Key`);
const badWait = bad(`${WAIT}: a whole number of seconds`);

/** What a request asks, or the 400 that says what is wrong with it. */
type Asked<What> = What | { readonly refused: Answer };

/**
 * A page sends no header of its own without a preflight, so the key has a second place: the body's `key`, or `?key=` where
 * there is no body.
 * @returns the one key, empty without one; undefined if two places name different ones
 */
const oneKey = (header: string, other: string): string | undefined => {
  if (header === "" || header === other) return other;
  return other === "" ? header : undefined;
};

export const askedPurchase = (
  exchange: Exchange,
  body: string,
): Asked<{ readonly units: number; readonly key: string; readonly waitSeconds: number }> => {
  const headerKey = readKey(exchange.head);
  if (headerKey === undefined) return { refused: badKey };
  if (exchange.queried(KEY) !== "") return { refused: keyElsewhere };
  const waitSeconds = askedWait(exchange.queried(WAIT), exchange.head.prefer);
  if (waitSeconds === undefined) return { refused: badWait };
  const purchase = readPurchase(body);
  if (typeof purchase === "string") return { refused: bad(purchase) };
  const key = oneKey(headerKey, purchase.key);
  return key === undefined ? { refused: twoKeys } : { units: purchase.units, key, waitSeconds };
};

/** `orderId` is empty where the request names none. */
export const askedStanding = (exchange: Exchange): Asked<{ readonly key: string; readonly orderId: string }> => {
  const headerKey = readKey(exchange.head);
  if (headerKey === undefined) return { refused: badKey };
  const keyParameter = exchange.queried(KEY);
  if (keyParameter !== "" && !isId(keyParameter)) return { refused: badKeyParameter };
  const key = oneKey(headerKey, keyParameter);
  if (key === undefined) return { refused: twoKeys };
  const orderId = exchange.queried(ORDER);
  return orderId !== "" && parseOrderId(orderId) === undefined ? { refused: badOrder } : { key, orderId };
};
