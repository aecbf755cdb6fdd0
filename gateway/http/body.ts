import type { Answer } from "./answer.ts";
import { edgeAnswers } from "./problem.ts";
import type { Exchange } from "./exchange.ts";

/** A purchase's body is `{"units":N}`; uWebSockets.js itself has no bound. */
const MAX_BODY_BYTES = 1_024;
/** A body of one packet that takes longer than this is an attack or a dead client. */
export const BODY_DEADLINE_MS = 5_000;

/**
 * Calls `done` with the whole body, unless it is too large or too slow: then it answers that, and closes. A body in chunks is
 * handed over a turn of the event loop after its last chunk: if what follows in the same packet is no end of a request, the
 * parser has closed the connection by then, and nothing is done.
 */
export const readBody = (exchange: Exchange, deadlineMs: number, done: (body: string) => void): void => {
  const isChunked = exchange.head.lengths === 0;
  const most = isChunked ? MAX_BODY_BYTES : Number(exchange.head.contentLength);
  let isEnded = false;
  const giveUp = (answer: Answer): void => {
    isEnded = true;
    exchange.closeAfter();
    exchange.answer(answer);
  };
  if (most > MAX_BODY_BYTES) {
    giveUp(edgeAnswers.bodyTooLarge);
    return;
  }
  const body = Buffer.alloc(most);
  let received = 0;
  const late = setTimeout(() => giveUp(edgeAnswers.bodySlow), deadlineMs);
  exchange.whenOver(() => clearTimeout(late));
  const end = (): void => {
    if (exchange.over) return;
    clearTimeout(late);
    done(body.toString("utf8", 0, received));
  };
  exchange.readBody((piece, last) => {
    if (isEnded || exchange.over) return;
    // With a Content-Length the parser hands over no more than was announced.
    if (received + piece.byteLength > most) {
      giveUp(edgeAnswers.bodyTooLarge);
      return;
    }
    body.set(new Uint8Array(piece), received);
    received += piece.byteLength;
    if (!last) return;
    isEnded = true;
    if (isChunked) setImmediate(end);
    else end();
  });
};
