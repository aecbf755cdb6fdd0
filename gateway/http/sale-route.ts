import { isId } from "#protocol/ids";
import type { BuyService, SaleView } from "../buy/service.ts";
import type { OutcomeCounts } from "../buy/outcome-counts.ts";
import { refusals, type Outcome } from "../buy/outcome.ts";
import { Found } from "../sales/sale-search.ts";
import { bytesOf, makeAnswer, type Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";
import { problemOf } from "./problem.ts";
import type { Route } from "./route.ts";

/** RFC 9110: If-None-Match compares weakly; `*` matches whatever is there. */
export const matchesEtag = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch !== "" && ifNoneMatch.split(",").some((item) => item.trim() === "*" || item.trim().replace(/^W\//, "") === etag);

interface SaleAnswers {
  readonly view: SaleView;
  readonly full: Answer;
  readonly unchanged: Answer;
}

interface SaleRouteOptions {
  readonly prefix: string;
  readonly service: BuyService;
  /** counts the refusals */
  readonly answered: OutcomeCounts;
}

/**
 * `GET /sales/:id`: the sale's cached bytes. Nothing in them or in the headers changes until the sale does; the server's
 * time, which a cache would tell late, is at `GET /time`.
 */
export const saleRoute = ({ prefix, service, answered }: SaleRouteOptions): Route => {
  // One entry a known sale; the service makes a new view when a sale changes, and then the answers are made anew.
  const made = new WeakMap<SaleView, SaleAnswers>();
  const answersOf = (view: SaleView): SaleAnswers => {
    let answers = made.get(view);
    if (answers === undefined) {
      const headers = { ETag: view.etag, "Cache-Control": "public, max-age=1" };
      const full = makeAnswer(200, { "Content-Type": "application/json", ...headers }, undefined);
      answers = { view, full: { head: full.head, body: bytesOf(view.body) }, unchanged: makeAnswer(304, headers, undefined) };
      made.set(view, answers);
    }
    return answers;
  };

  const show = (exchange: Exchange, view: SaleView): void => {
    const { full, unchanged } = answersOf(view);
    exchange.answer(matchesEtag(exchange.head.ifNoneMatch, view.etag) ? unchanged : full);
  };

  const refuse = (exchange: Exchange, outcome: Outcome): void => {
    answered[outcome.code] += 1;
    exchange.answer(problemOf(outcome));
  };

  const get = (exchange: Exchange): void => {
    const saleId = exchange.parameter;
    const view = service.saleView(saleId);
    const isCheap = view !== undefined || !isId(saleId);
    const refusal = isCheap ? service.readRefusal(exchange) : service.searchRefusal(exchange);
    if (refusal !== undefined) {
      refuse(exchange, refusal);
      return;
    }
    if (view !== undefined) {
      show(exchange, view);
      return;
    }
    if (isCheap) {
      refuse(exchange, refusals.saleUnknown);
      return;
    }
    // a sale that was opened a moment ago may not have come to this process
    service.findSale(saleId, (found) => {
      const now = service.saleView(saleId);
      if (now !== undefined) show(exchange, now);
      else refuse(exchange, found === Found.none ? refusals.saleUnknown : refusals.recovering);
    });
  };
  return { pattern: `${prefix}/sales/:id`, pages: "all", get };
};
