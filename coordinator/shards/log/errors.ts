import { NatsError } from "nats";

/** JetStream's own error codes (nats-server 2.9, server/errors.json). */
export const JetStreamError = {
  consumerNotFound: 10_014,
  consumerNameExists: 10_013,
  streamNotFound: 10_059,
  messageNotFound: 10_037,
  /** above the stream's `max_msg_size` */
  messageTooLarge: 10_054,
  /** what a stream with `discard: new` answers at its bound */
  storeFailed: 10_077,
} as const;

/** @returns JetStream's code of an error that it answered with, otherwise undefined (no answer, no broker) */
export const jetStreamCode = (error: unknown): number | undefined => (error instanceof NatsError ? error.api_error?.err_code : undefined);

/** Answered by a JetStream that is not ready, has no leader or no room at the moment. */
const UNAVAILABLE = 503;

/** The broker understood and refused: asking again will not help. Otherwise it is away, or not ready. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof NatsError && error.api_error !== undefined && error.api_error.code !== UNAVAILABLE;
