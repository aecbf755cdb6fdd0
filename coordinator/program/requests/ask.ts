import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "nats";
import type { z } from "zod";
import type { Request } from "#protocol/requests/contract";
import { readReply, Refused, type Reply } from "#protocol/requests/reply";
import { requestWhole } from "./large-reply.ts";

/**
 * Who does not answer in this time may be a process that stands still: the broker goes on dealing requests to it. Asked
 * again, beside the first, so that a Postgres that is slow is no worse off.
 */
const AGAIN_MS = 400;
/** Of one question: whoever waits longer than for these waits for one of them. */
const MOST_TRIES = 5;

/** The first answer, or the first failure. */
const firstAnswer = async (connection: NatsConnection, request: Request, body: string, withinMs: number): Promise<Uint8Array> => {
  const over = new AbortController();
  const asked = async (afterMs: number): Promise<Uint8Array> => {
    if (afterMs > 0) await delay(afterMs, undefined, { signal: over.signal });
    return requestWhole(connection, request.subject, body, withinMs - afterMs);
  };
  const count = request.isAskedAgain ? Math.min(MOST_TRIES, Math.ceil(withinMs / AGAIN_MS)) : 1;
  try {
    return await Promise.race(Array.from({ length: count }, (_, n) => asked(n * AGAIN_MS)));
  } finally {
    over.abort();
  }
};

/**
 * Asks one of the workers, and after a moment another where the contract allows it.
 * @param withinMs of who waits less long than the contract says
 * @throws UnreadableReply, or what NATS throws if nobody answers in time
 */
export const ask = async <Body extends z.ZodType, Value extends z.ZodType>(
  connection: NatsConnection,
  request: Request<Body, Value>,
  body: z.input<Body>,
  withinMs: number = request.withinMs,
): Promise<Reply<z.output<Value>>> => {
  const answer = await firstAnswer(connection, request, JSON.stringify(body), withinMs);
  return readReply(request.subject, request.value, answer);
};

/** As `ask`, for whom a refusal is a fault. @throws Refused with the worker's code */
export const askValue = async <Body extends z.ZodType, Value extends z.ZodType>(
  connection: NatsConnection,
  request: Request<Body, Value>,
  body: z.input<Body>,
  withinMs?: number,
): Promise<z.output<Value>> => {
  const reply = await ask(connection, request, body, withinMs);
  if (!reply.ok) throw new Refused(request.subject, reply.code, reply.detail);
  return reply.value;
};
