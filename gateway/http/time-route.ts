import { headText } from "./answer.ts";
import type { Sendable } from "./exchange.ts";
import type { Route } from "./route.ts";

/**
 * `GET /time`: the server's wall clock, for count-downs: `{"nowMs":1700000000123}`, to be set against a sale's `opensAtMs`.
 * The header Doorbuster-Time says the same, so that HEAD says it, too. Never cached: a cache's answer would be behind.
 * @param nowMs wall clock, ms since 1970
 */
export const timeRoute = (prefix: string, nowMs: () => number): Route => {
  const head = `${headText(200, { "Content-Type": "application/json", "Cache-Control": "no-store" })}\r\nDoorbuster-Time: `;
  const now = (): Sendable => {
    const ms = nowMs();
    return { head: head + ms, body: `{"nowMs":${ms}}` };
  };
  return {
    pattern: `${prefix}/time`,
    pages: "all",
    plainGet: now,
    get: (exchange) => exchange.answer(now()),
  };
};
