import { createInbox, headers, type Msg, type NatsConnection } from "nats";
import { RequestError, type Reply } from "#protocol/requests/reply";

/**
 * A reply that is larger than a message may be, a list of thousands of sales say, goes in parts: the first says how many
 * there are and where the others can be asked for, each by its number. Only to who says that it asks so; a program of
 * the version before hears why it gets nothing.
 */
const TAKES_PARTS = "Doorbuster-Takes-Parts";
const PARTS = "Doorbuster-Parts";
const PARTS_AT = "Doorbuster-Parts-At";

/** Of the headers that a part has. */
const HEADER_BYTES = 512;
/** Who asks for parts asks for one after the other, each at once. */
const KEPT_MS = 10_000;
const MOST_PARTS = 1_000;

const encoder = new TextEncoder();

const respondInParts = (connection: NatsConnection, message: Msg, reply: Uint8Array, partBytes: number): void => {
  const count = Math.ceil(reply.length / partBytes);
  const part = (n: number): Uint8Array => reply.subarray(n * partBytes, (n + 1) * partBytes);
  const at = createInbox();
  const rest = connection.subscribe(at, {
    callback: (error, asked) => {
      if (error === null) asked.respond(part(Number(asked.string())));
    },
    max: count - 1,
  });
  setTimeout(() => rest.unsubscribe(), KEPT_MS).unref();
  const told = headers();
  told.set(PARTS, String(count));
  told.set(PARTS_AT, at);
  message.respond(part(0), { headers: told });
};

/** Answers, in parts if it must be. Silent on a closed connection. */
export const respond = (connection: NatsConnection, message: Msg, reply: Reply<unknown>): void => {
  if (connection.isClosed()) return;
  const bytes = encoder.encode(JSON.stringify(reply));
  const most = (connection.info?.max_payload ?? Number.POSITIVE_INFINITY) - HEADER_BYTES;
  if (bytes.length <= most) message.respond(bytes);
  else if (message.headers?.has(TAKES_PARTS) === true) respondInParts(connection, message, bytes, most);
  else {
    const detail = `the answer has ${bytes.length} bytes, and the broker's max_payload is ${connection.info?.max_payload}`;
    message.respond(JSON.stringify({ ok: false, code: RequestError.unavailable, detail } satisfies Reply<unknown>));
  }
};

/** A request and its whole reply. @param withinMs for each part. @throws what NATS throws if nobody answers in time */
export const requestWhole = async (connection: NatsConnection, subject: string, body: string, withinMs: number): Promise<Uint8Array> => {
  const asking = headers();
  asking.set(TAKES_PARTS, "1");
  const first = await connection.request(subject, body, { timeout: withinMs, headers: asking });
  const count = Number(first.headers?.get(PARTS) ?? 1);
  const at = first.headers?.get(PARTS_AT) ?? "";
  if (at === "" || !(count <= MOST_PARTS)) return first.data;
  const parts = [first.data];
  for (let n = 1; n < count; n += 1) parts.push((await connection.request(at, String(n), { timeout: withinMs })).data);
  return Buffer.concat(parts);
};
