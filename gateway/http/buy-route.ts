import { parseOrderId } from "#protocol/order-id";
import type { BuyService } from "../buy/service.ts";
import { OutcomeCode, outcomeStatus, refusals, type Outcome } from "../buy/outcome.ts";
import type { Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";
import { preferredWait, type HeldAnswers } from "./held-answers.ts";
import { jsonHead, problem, problemOf, purchaseBody, purchaseHeads, outcomeFields } from "./problem.ts";
import { HttpPurchase, HttpStanding, readKey, readUnits } from "./purchase.ts";
import type { Route } from "./route.ts";
import type { OutcomeCounts } from "../buy/outcome-counts.ts";

const ORDER = "order";
const badOrder = problem({ code: OutcomeCode.badRequest, detail: `${ORDER}: the order id that the purchase was answered with` });
const badKey = problem({
  code: OutcomeCode.badRequest,
  detail: 'Idempotency-Key: one header with 1 to 64 of A-Z a-z 0-9 _ -, as it is or between ""; no escapes, no parameters.',
});

/** A standing that is known is a good answer to the question, whatever it says: 200. */
const STANDINGS: ReadonlySet<OutcomeCode> = new Set([OutcomeCode.none, OutcomeCode.reserved, OutcomeCode.confirmed, OutcomeCode.rejected]);

/** `POST /buy/:ticket` and `GET /buy/:ticket`: HTTP's side of the service. */
export const buyRoute = (prefix: string, service: BuyService, held: HeldAnswers, answered: OutcomeCounts): Route => {
  const buyUrl = `${prefix}/buy/`;
  const heads = purchaseHeads(buyUrl);

  const sendOutcome = (exchange: Exchange, outcome: Outcome): void => {
    answered[outcome.code] += 1;
    const status = outcomeStatus(outcome);
    // The service has read the ticket by now, so it is URL-safe: it cannot split the Location header.
    if (status === 200 || status === 201 || status === 202)
      exchange.send(`${heads[status]}${exchange.parameter}?${ORDER}=${outcome.orderId}`, purchaseBody(outcome));
    else exchange.answer(problemOf(outcome));
  };

  const post = (exchange: Exchange, body: string): void => {
    const key = readKey(exchange.head);
    if (key === undefined) {
      exchange.answer(badKey);
      return;
    }
    const units = body === "" ? 1 : readUnits(body);
    if (typeof units === "string") {
      exchange.answer(problem({ code: OutcomeCode.badRequest, detail: units }));
      return;
    }
    service.buy(new HttpPurchase(exchange, units, key), (outcome) => {
      const seconds = outcome.code === OutcomeCode.reserved ? preferredWait(exchange.head.prefer) : 0;
      if (seconds === 0 || exchange.over) sendOutcome(exchange, outcome);
      else held.hold(exchange, key, outcome, seconds, (final) => sendOutcome(exchange, final));
    });
  };

  const get = (exchange: Exchange): void => {
    const key = readKey(exchange.head);
    if (key === undefined) {
      exchange.answer(badKey);
      return;
    }
    const { query: orderId } = exchange;
    if (orderId !== "" && parseOrderId(orderId) === undefined) {
      exchange.answer(badOrder);
      return;
    }
    service.standing(new HttpStanding(exchange, key), (standing) => {
      // Who was answered with an order and has none now has lost it with its server: `none` would not say why (DESIGN 7.1).
      const outcome = standing.code === OutcomeCode.none && orderId !== "" ? refusals.notSurvived : standing;
      answered[outcome.code] += 1;
      if (STANDINGS.has(outcome.code)) exchange.send(jsonHead, JSON.stringify(outcomeFields(outcome)));
      else exchange.answer(problemOf(outcome));
    });
  };

  const refuse = (ticket: string): Answer | undefined => {
    const outcome = service.refusal(ticket);
    if (outcome === undefined) return undefined;
    answered[outcome.code] += 1;
    return problemOf(outcome);
  };

  return { pattern: `${buyUrl}:ticket`, get, query: ORDER, post, refuse };
};
