import type { HttpRequest, HttpResponse } from "uWebSockets.js";
import type { TemplatedApp } from "./app.ts";
import type { Answer } from "./answer.ts";
import { readBody } from "./body.ts";
import { Exchange, type Edge } from "./exchange.ts";
import { edgeAnswers, problem } from "./problem.ts";
import { hasBody, isFramed, isHeadTooLarge, isHostOne, isPlain, readHead, type RequestHead } from "./request-head.ts";

/** Handles one request; may answer now or later. What it throws becomes a 500. */
type Handler = (exchange: Exchange) => void;
/** As Handler, with the request's body, empty if there was none. */
type BodyHandler = (exchange: Exchange, body: string) => void;

export interface Route {
  /** uWebSockets.js's pattern, with at most one parameter */
  readonly pattern: string;
  /** answers HEAD too */
  readonly get?: Handler;
  /** the query parameter that `get` wants */
  readonly query?: string;
  readonly post?: BodyHandler;
  /**
   * Asked first about a POST that has no body and no key: the answer, if the parameter alone tells. Nothing is made for
   * such a request, because nearly all of a crowd's end here.
   */
  readonly refuse?: (parameter: string) => Answer | undefined;
}

const fail = (edge: Edge, exchange: Exchange, error: unknown): void => {
  edge.onFault(error);
  exchange.answer(edgeAnswers.fault);
};

/**
 * What no route takes.
 * @param takesBody false: a body is refused, too
 */
export const refusalOfHead = (exchange: Exchange, takesBody: boolean): Answer | undefined => {
  const { head } = exchange;
  if (!isFramed(head)) {
    exchange.endConnection();
    return edgeAnswers.badFraming;
  }
  if (!isHostOne(head)) return edgeAnswers.badHost;
  if (isHeadTooLarge(head)) return edgeAnswers.headTooLarge;
  if (exchange.isProxyForged) return edgeAnswers.proxyForged;
  return !takesBody && hasBody(head) ? edgeAnswers.bodyUnwanted : undefined;
};

/**
 * uWebSockets.js gives a parameter as it stands in the URL, and some clients escape more than they must (RFC 3986 2.4).
 * @returns undefined if an escape in it is none: `%zz`, `%4`, bytes that are not UTF-8
 */
const decoded = (raw: string): string | undefined => {
  if (!raw.includes("%")) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return undefined;
  }
};

/** The refusal of a plain POST, if there is one now. A draining mount closes each connection, which takes an exchange. */
const refusalOf = (edge: Edge, refuse: NonNullable<Route["refuse"]>, head: RequestHead, parameter: string): Answer | undefined => {
  if (edge.draining || !isPlain(head)) return undefined;
  try {
    return refuse(parameter);
  } catch (error) {
    edge.onFault(error);
    return edgeAnswers.fault;
  }
};

/**
 * Every route of ours goes through here, because each of these has taken a process down or let a request be smuggled
 * (DESIGN 10): framing, size of headers and body, a throw, a missing abort handler.
 */
const wrapped =
  (edge: Edge, hasParameter: boolean, isHead: boolean, handle: Handler, takesBody: boolean, more: Pick<Route, "query" | "refuse"> = {}) =>
  (res: HttpResponse, req: HttpRequest): void => {
    const head = readHead(req, edge.clients.addressHeader);
    edge.clients.lookAt(res, head);
    const parameter = hasParameter ? decoded(req.getParameter(0) ?? "") : "";
    const refusal = more.refuse === undefined || parameter === undefined ? undefined : refusalOf(edge, more.refuse, head, parameter);
    if (refusal !== undefined) {
      res.writeStatus(refusal.head);
      res.end(refusal.body);
      return;
    }
    const exchange = new Exchange(edge, res, head, parameter ?? "", isHead, more.query && req.getQuery(more.query));
    try {
      const bad = refusalOfHead(exchange, takesBody);
      if (bad !== undefined) {
        exchange.closeAfter();
        exchange.answer(bad);
      } else if (parameter === undefined) exchange.answer(edgeAnswers.badEscape);
      else handle(exchange);
    } catch (error) {
      fail(edge, exchange, error);
    }
    exchange.leaveHandler();
  };

const withBody =
  (edge: Edge, handle: BodyHandler): Handler =>
  (exchange) => {
    if (!hasBody(exchange.head)) {
      handle(exchange, "");
      return;
    }
    readBody(exchange, edge.bodyDeadlineMs, (body) => {
      try {
        handle(exchange, body);
      } catch (error) {
        fail(edge, exchange, error);
      }
    });
  };

/** Registers a route for its methods and answers 405 for all others. */
export const mountRoute = (app: TemplatedApp, edge: Edge, route: Route): void => {
  const hasParameter = route.pattern.includes(":");
  const allowed: string[] = [];
  const asked = route.query === undefined ? {} : { query: route.query };
  const refused = route.refuse === undefined ? {} : { refuse: route.refuse };
  if (route.get !== undefined) {
    app.get(route.pattern, wrapped(edge, hasParameter, false, route.get, false, asked));
    app.head(route.pattern, wrapped(edge, hasParameter, true, route.get, false, asked));
    allowed.push("GET", "HEAD");
  }
  if (route.post !== undefined) {
    app.post(route.pattern, wrapped(edge, hasParameter, false, withBody(edge, route.post), true, refused));
    allowed.push("POST");
  }
  const allow = allowed.join(", ");
  const wrongMethod = problem({ code: "bad_request", detail: `Only ${allow} here.` }, 405, { Allow: allow });
  const refuse: Handler = (exchange) => {
    exchange.closeAfter();
    exchange.answer(wrongMethod);
  };
  app.any(route.pattern, wrapped(edge, false, false, refuse, true));
  if (route.get === undefined) app.head(route.pattern, wrapped(edge, false, true, refuse, true));
};

/** Answers 404 below the pattern for whatever has no route. */
export const mountNotFound = (app: TemplatedApp, edge: Edge, pattern: string): void => {
  const refuse: Handler = (exchange) => {
    if (exchange.head.lengths > 0) exchange.closeAfter();
    exchange.answer(edgeAnswers.notFound);
  };
  app.head(pattern, wrapped(edge, false, true, refuse, true));
  app.any(pattern, wrapped(edge, false, false, refuse, true));
};
