import type { TemplatedApp } from "./app.ts";
import type { Answer } from "./answer.ts";
import { readBody } from "./body.ts";
import type { Exchange, Edge } from "./exchange.ts";
import { mountOptions } from "./options.ts";
import { edgeAnswers, problem } from "./problem.ts";
import { hasBody } from "./request-head.ts";
import { fail, wrapped, type Handler, type OnPlain, type Pages } from "./wrapper.ts";

/** As Handler, with the request's body, empty if there was none. */
type BodyHandler = (exchange: Exchange, body: string) => void;

export interface Route {
  /** uWebSockets.js's pattern, with at most one parameter */
  readonly pattern: string;
  readonly pages: Pages;
  /** its handlers read query parameters */
  readonly takesQuery?: boolean;
  /** answers HEAD too */
  readonly get?: Handler;
  /** asked first about a GET, if the answer is a small one: it costs what a refusal costs */
  readonly plainGet?: OnPlain;
  readonly post?: Posting;
}

/** A POST does something, so a page of a foreign origin is refused before it. */
interface Posting {
  readonly handle: BodyHandler;
  /**
   * Asked first about a POST that has no body and no key: the answer, if the parameter alone tells. Nothing is made for
   * such a request, because nearly all of a crowd's end here.
   */
  readonly plain: OnPlain;
  /** the answer to a page of a foreign origin */
  readonly foreign: () => Answer;
}

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

/** Registers a route for its methods and for OPTIONS, and answers 405 for all others. */
export const mountRoute = (app: TemplatedApp, edge: Edge, route: Route): void => {
  const { pattern, pages, takesQuery = false, get, plainGet, post } = route;
  const hasParameter = pattern.includes(":");
  const shared = { pages, hasParameter, takesQuery };
  const methods: string[] = [];
  if (get !== undefined) {
    app.get(pattern, wrapped(edge, { ...shared, handle: get, ...(plainGet === undefined ? {} : { plain: plainGet }) }));
    app.head(pattern, wrapped(edge, { ...shared, isHead: true, handle: get }));
    methods.push("GET", "HEAD");
  }
  if (post !== undefined) {
    const { handle, plain, foreign } = post;
    app.post(pattern, wrapped(edge, { ...shared, takesBody: true, handle: withBody(edge, handle), plain, foreign }));
    methods.push("POST");
  }
  mountOptions(app, edge, { pattern, pages, methods });
  const allow = [...methods, "OPTIONS"].join(", ");
  const wrongMethod = problem({ code: "bad_request", detail: `Only ${allow} here.` }, 405, { Allow: allow });
  const refuse: Handler = (exchange) => {
    exchange.closeAfter();
    exchange.answer(wrongMethod);
  };
  app.any(pattern, wrapped(edge, { pages, takesBody: true, handle: refuse }));
  if (get === undefined) app.head(pattern, wrapped(edge, { pages, takesBody: true, isHead: true, handle: refuse }));
};

/** Answers 404 below the pattern for whatever has no route. */
export const mountNotFound = (app: TemplatedApp, edge: Edge, pattern: string): void => {
  const handle: Handler = (exchange) => {
    if (exchange.head.lengths > 0) exchange.closeAfter();
    exchange.answer(edgeAnswers.notFound);
  };
  const nothing = { pages: "all", takesBody: true, handle } as const;
  app.head(pattern, wrapped(edge, { ...nothing, isHead: true }));
  // A page whose request needs a preflight could not read the 404 without one.
  mountOptions(app, edge, { pattern, pages: "all", methods: ["GET", "HEAD", "POST"], otherwise: edgeAnswers.notFound });
  app.any(pattern, wrapped(edge, nothing));
};
