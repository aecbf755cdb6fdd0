import { createInbox, type NatsConnection } from "nats";
import type { z } from "zod";
import type { Request } from "#protocol/requests/contract";
import { readReply, type Reply } from "#protocol/requests/reply";

/** Code of the broker's own answer when nobody is subscribed. */
const NO_RESPONDERS = 503;

export interface StreamOptions<Value> {
  /** gives up; the work itself may go on */
  readonly stop: AbortSignal;
  readonly progress: (value: Value) => void;
  readonly isLast: (value: Value) => boolean;
}

/**
 * Asks for something that takes long and is answered as it goes on. The time-out is on the next answer, not on the whole.
 * @returns the last answer; every good one goes to `progress` before
 * @throws UnreadableReply, or an Error if nobody is there, or nothing was heard for too long
 */
export const askStreamed = async <Body extends z.ZodType, Value extends z.ZodType>(
  connection: NatsConnection,
  request: Request<Body, Value>,
  body: z.input<Body>,
  { stop, progress, isLast }: StreamOptions<z.output<Value>>,
): Promise<Reply<z.output<Value>>> => {
  const inbox = createInbox();
  const answers = connection.subscribe(inbox);
  const end = (): void => answers.unsubscribe();
  let timer = setTimeout(end, request.withinMs);
  stop.addEventListener("abort", end, { once: true });
  try {
    connection.publish(request.subject, JSON.stringify(body), { reply: inbox });
    for await (const message of answers) {
      if (message.headers?.code === NO_RESPONDERS)
        throw new Error(`${request.subject}: no worker listens to it: none is running or reaches NATS`);
      const reply = readReply(request.subject, request.value, message.data);
      if (!reply.ok) return reply;
      progress(reply.value);
      if (isLast(reply.value)) return reply;
      clearTimeout(timer);
      timer = setTimeout(end, request.withinMs);
    }
    throw new Error(`${request.subject}: the worker reported no progress for ${request.withinMs} ms`);
  } finally {
    clearTimeout(timer);
    stop.removeEventListener("abort", end);
    answers.unsubscribe();
  }
};
