import type { BuyService } from "../buy/service.ts";
import { OutcomeCode, outcomeStatus, refusals, type Outcome } from "../buy/outcome.ts";
import type { Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";
import { askedPurchase, askedStanding, KEY, ORDER } from "./buy-request.ts";
import type { HeldAnswers } from "./held-answers.ts";
import { edgeAnswers, jsonHead, problemOf, purchaseBody, purchaseHeads, outcomeFields } from "./problem.ts";
import { HttpPurchase, HttpStanding } from "./purchase.ts";
import type { Route } from "./route.ts";
import type { OutcomeCounts } from "../buy/outcome-counts.ts";

/** A standing that is known is a good answer to the question, whatever it says: 200. */
const STANDINGS: ReadonlySet<OutcomeCode> = new Set([OutcomeCode.none, OutcomeCode.reserved, OutcomeCode.confirmed, OutcomeCode.rejected]);

/** `POST /buy/:ticket` and `GET /buy/:ticket`: HTTP's side of the service. */
export const buyRoute = (prefix: string, service: BuyService, held: HeldAnswers, answered: OutcomeCounts): Route => {
  const buyUrl = `${prefix}/buy/`;
  const heads = purchaseHeads(buyUrl);

  const sendOutcome = (exchange: Exchange, key: string, outcome: Outcome): void => {
    answered[outcome.code] += 1;
    const status = outcomeStatus(outcome);
    if (status !== 200 && status !== 201 && status !== 202) {
      exchange.answer(problemOf(outcome));
      return;
    }
    // The service has read the ticket by now, so it is URL-safe, as a key is: neither can split the Location header.
    const location = `${exchange.parameter}?${ORDER}=${outcome.orderId}${key === "" ? "" : `&${KEY}=${key}`}`;
    exchange.answer({ head: heads[status] + location, body: purchaseBody(outcome) });
  };

  const post = (exchange: Exchange, body: string): void => {
    const asked = askedPurchase(exchange, body);
    if ("refused" in asked) return exchange.answer(asked.refused);
    const { units, key, waitSeconds } = asked;
    service.buy(new HttpPurchase(exchange, units, key, waitSeconds > 0), (outcome) => {
      if (outcome.code !== OutcomeCode.reserved || waitSeconds === 0 || exchange.over) sendOutcome(exchange, key, outcome);
      else held.hold(exchange, key, outcome, waitSeconds, (final) => sendOutcome(exchange, key, final));
    });
  };

  const get = (exchange: Exchange): void => {
    const asked = askedStanding(exchange);
    if ("refused" in asked) return exchange.answer(asked.refused);
    const { key, orderId } = asked;
    service.standing(new HttpStanding(exchange, key), (standing) => {
      // Who was answered with an order and has none now has lost it with its server: `none` would not say why (DESIGN 7.1).
      const outcome = standing.code === OutcomeCode.none && orderId !== "" ? refusals.notSurvived : standing;
      answered[outcome.code] += 1;
      if (STANDINGS.has(outcome.code)) exchange.answer({ head: jsonHead, body: JSON.stringify(outcomeFields(outcome)) });
      else exchange.answer(problemOf(outcome));
    });
  };

  /** What the ticket alone tells, whatever else the address says: a wait is over before it began, a key has no place there. */
  const refusal = (ticket: string): Answer | undefined => {
    const outcome = service.refusal(ticket);
    if (outcome === undefined) return undefined;
    answered[outcome.code] += 1;
    return problemOf(outcome);
  };

  const foreign = (): Answer => {
    answered[OutcomeCode.originNotAllowed] += 1;
    return edgeAnswers.originNotAllowed;
  };

  return {
    pattern: `${buyUrl}:ticket`,
    pages: "listed",
    takesQuery: true,
    get,
    post: { handle: post, plain: refusal, foreign },
  };
};
