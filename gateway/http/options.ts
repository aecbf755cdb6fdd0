import type { TemplatedApp } from "./app.ts";
import { makeAnswer, type Answer } from "./answer.ts";
import type { Edge } from "./exchange.ts";
import type { Reader } from "./origins.ts";
import type { RequestHead } from "./request-head.ts";
import { wrapped, type Pages } from "./wrapper.ts";

/** Headers that a page may send to some route of ours, beside those that every page may. */
const ASKABLE = "Content-Type, Idempotency-Key, If-None-Match, Prefer";
/** How long a browser remembers a preflight; Chromium caps it at two hours. */
const MAX_AGE_SECONDS = "86400";

/** What OPTIONS is answered for, and by which methods the address is asked. */
interface Askable {
  readonly pattern: string;
  readonly pages: Pages;
  readonly methods: readonly string[];
  /** the answer to who asks no preflight, if there is nothing at the address whose methods could be named */
  readonly otherwise?: Answer;
}

/**
 * Answers OPTIONS from prepared bytes and without closing. To a preflight it says what the page may send; to that of a
 * page that may not read the answers nothing, by which its browser refuses. To who asks otherwise it names the methods.
 */
export const mountOptions = (app: TemplatedApp, edge: Edge, { pattern, pages, methods, otherwise }: Askable): void => {
  const named = methods.join(", ");
  const granted = makeAnswer(
    204,
    {
      "Access-Control-Allow-Methods": named,
      "Access-Control-Allow-Headers": ASKABLE,
      "Access-Control-Max-Age": MAX_AGE_SECONDS,
    },
    undefined,
  );
  const plain = otherwise ?? makeAnswer(204, { Allow: `${named}, OPTIONS` }, undefined);
  const answerTo = (head: Readonly<RequestHead>, { isForeign, cors }: Reader): Answer =>
    head.askedMethod !== "" && cors !== undefined && !isForeign ? granted : plain;
  app.options(
    pattern,
    wrapped(edge, {
      pages,
      plain: (_, head, reader) => answerTo(head, reader),
      handle: (exchange) => exchange.answer(answerTo(exchange.head, exchange.reader)),
    }),
  );
};
