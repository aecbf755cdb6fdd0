import type { HttpRequest, HttpResponse } from "uWebSockets.js";
import type { Answer } from "./answer.ts";
import { Exchange, type Edge, type Sendable } from "./exchange.ts";
import { ANYBODY, type Reader } from "./origins.ts";
import { edgeAnswers } from "./problem.ts";
import { hasBody, isFramed, isHeadTooLarge, isHostOne, isPlain, readHead, type RequestHead } from "./request-head.ts";

/** Handles one request; may answer now or later. What it throws becomes a 500. */
export type Handler = (exchange: Exchange) => void;

/** Whose pages may read an address's answers: everybody's, or those of our own origin and the allow-list. */
export type Pages = "all" | "listed";

/** What a request is asked about before anything is made for it. */
export type OnPlain = (parameter: string, head: Readonly<RequestHead>, reader: Reader) => Sendable | undefined;

/** What is behind one method of an address. */
interface Entrance {
  readonly pages: Pages;
  readonly handle: Handler;
  readonly hasParameter?: boolean;
  readonly isHead?: boolean;
  readonly takesBody?: boolean;
  /** its handler reads query parameters */
  readonly takesQuery?: boolean;
  /** asked first about a request that has no body and no key: nothing is made for it if this has the answer */
  readonly plain?: OnPlain;
  /** it does something: the answer to a page of a foreign origin, for which nothing is done */
  readonly foreign?: () => Answer;
}

export const fail = (edge: Edge, exchange: Exchange, error: unknown): void => {
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

/**
 * The answer to a plain request, if there is one now. A draining mount closes each connection, which takes an exchange.
 * @param parameter undefined if it is malformed
 */
const promptOf = (
  edge: Edge,
  { plain, foreign }: Entrance,
  parameter: string | undefined,
  head: RequestHead,
  reader: Reader,
): Sendable | undefined => {
  if (edge.draining || !isPlain(head)) return undefined;
  try {
    if (reader.isForeign && foreign !== undefined) return foreign();
    return parameter === undefined ? undefined : plain?.(parameter, head, reader);
  } catch (error) {
    edge.onFault(error);
    return edgeAnswers.fault;
  }
};

/** @param isEscaped false: the parameter is malformed */
const run = (exchange: Exchange, { handle, takesBody = false, foreign }: Entrance, isEscaped: boolean): void => {
  const bad = refusalOfHead(exchange, takesBody);
  if (bad !== undefined) {
    exchange.closeAfter();
    exchange.answer(bad);
  } else if (exchange.reader.isForeign && foreign !== undefined) {
    if (hasBody(exchange.head)) exchange.closeAfter();
    exchange.answer(foreign());
  } else if (isEscaped) handle(exchange);
  else exchange.answer(edgeAnswers.badEscape);
};

/**
 * Every route of ours goes through here, because each of these has taken a process down or let a request be smuggled
 * (DESIGN 10): framing, size of headers and body, a throw, a missing abort handler. And because each answer has to say
 * which page may read it.
 */
export const wrapped = (edge: Edge, entrance: Entrance) => {
  const { pages, hasParameter = false, isHead = false, takesQuery = false, plain, foreign } = entrance;
  const isAskedFirst = plain !== undefined || foreign !== undefined;
  return (res: HttpResponse, req: HttpRequest): void => {
    const head = readHead(req, edge.clients.addressHeader);
    edge.clients.lookAt(res, head);
    const parameter = hasParameter ? decoded(req.getParameter(0) ?? "") : "";
    const reader = pages === "all" ? ANYBODY : edge.origins.readerOf(head, req);
    const prompt = isAskedFirst ? promptOf(edge, entrance, parameter, head, reader) : undefined;
    if (prompt !== undefined) {
      res.writeStatus(reader.cors === undefined ? prompt.head : reader.cors.on(prompt.head));
      if (prompt.body === undefined) res.endWithoutBody();
      else res.end(prompt.body);
      return;
    }
    const query = takesQuery ? req.getQuery() : "";
    const traceparent = edge.readsTraceparent ? req.getHeader("traceparent") : "";
    const exchange = new Exchange(edge, res, { head, reader, parameter: parameter ?? "", isHead, query, traceparent });
    try {
      run(exchange, entrance, parameter !== undefined);
    } catch (error) {
      fail(edge, exchange, error);
    }
    exchange.leaveHandler();
  };
};
