import type { Msg, NatsConnection } from "nats";
import type { Delivery } from "../apply/delivery.ts";

const NANOS_PER_MS = 1_000_000;

/**
 * Stream sequence in an ack subject: `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>...`, newer servers put domain and
 * account before the stream (nats-server ADR-15).
 */
const streamSeqOf = (ackSubject: string): number | undefined => {
  const tokens = ackSubject.split(".");
  if (tokens[0] !== "$JS" || tokens[1] !== "ACK") return undefined;
  const seq = Number(tokens[tokens.length >= 11 ? 7 : 5]);
  return Number.isSafeInteger(seq) && seq > 0 ? seq : undefined;
};

/** @returns undefined if it did not come from a JetStream consumer */
export const deliveryOf = (connection: NatsConnection, shard: number, message: Msg): Delivery | undefined => {
  const { reply } = message;
  const streamSeq = reply === undefined ? undefined : streamSeqOf(reply);
  if (reply === undefined || streamSeq === undefined) return undefined;
  const answer = (text: string): void => {
    if (!connection.isClosed()) connection.publish(reply, text);
  };
  return {
    shard,
    streamSeq,
    body: message.data,
    ack: () => answer("+ACK"),
    working: () => answer("+WPI"),
    again: (delayMs) => answer(delayMs === 0 ? "-NAK" : `-NAK {"delay": ${delayMs * NANOS_PER_MS}}`),
  };
};
