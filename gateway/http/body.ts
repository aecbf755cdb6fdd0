import { edgeAnswers } from "./problem.ts";
import type { Exchange } from "./exchange.ts";

/** A purchase's body is `{"units":N}`; uWebSockets.js itself has no bound. */
const MAX_BODY_BYTES = 1_024;
/** A body of one packet that takes longer than this is an attack or a dead client. */
export const BODY_DEADLINE_MS = 5_000;

/** Calls `done` with the whole body, unless it is too large or too slow: then it answers that, and closes. */
export const readBody = (exchange: Exchange, deadlineMs: number, done: (body: string) => void): void => {
  const expected = Number(exchange.head.contentLength);
  if (expected > MAX_BODY_BYTES) {
    exchange.closeAfter();
    exchange.answer(edgeAnswers.bodyTooLarge);
    return;
  }
  const body = Buffer.alloc(expected);
  let received = 0;
  const late = setTimeout(() => {
    exchange.closeAfter();
    exchange.answer(edgeAnswers.bodySlow);
  }, deadlineMs);
  exchange.whenOver(() => clearTimeout(late));
  exchange.readBody((piece, last) => {
    if (exchange.over) return;
    // The parser hands over no more than Content-Length announced.
    body.set(new Uint8Array(piece), received);
    received += piece.byteLength;
    if (!last) return;
    clearTimeout(late);
    done(body.toString("utf8", 0, received));
  });
};
