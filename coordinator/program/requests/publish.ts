import { ErrorCode, NatsError, type NatsConnection, type Subscription } from "nats";
import type { z } from "zod";
import { everyShard, publicationSubject, shardOfSubject, type Publication } from "#protocol/requests/publications";

/** The client itself refuses what is above the broker's `max_payload`. */
const isTooLarge = (error: unknown): boolean => error instanceof NatsError && error.code === (ErrorCode.MaxPayloadExceeded as string);

/**
 * Tells all who listen, if anybody does. Silent on a closed connection.
 * @param apart what to tell instead where the broker takes no message so large; what is too large then is not told
 */
export const publish = <Body extends z.ZodType>(
  connection: NatsConnection,
  publication: Publication<Body>,
  shard: number,
  body: z.output<Body>,
  apart: (body: z.output<Body>) => readonly z.output<Body>[] = () => [],
): void => {
  if (connection.isClosed()) return;
  try {
    connection.publish(publicationSubject(publication, shard), JSON.stringify(body));
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    for (const part of apart(body)) publish(connection, publication, shard, part);
  }
};

export interface HearOptions<Body> {
  /** false: what comes now need not even be read */
  readonly isNeeded?: () => boolean;
  /** @param shard what the subject says */
  readonly heard: (body: Body, shard: number) => void;
  /** what cannot be read, and what NATS says of the subscription; nothing is done about it if left out */
  readonly fault?: (error: unknown, subject: string) => void;
}

const readBody = <Body extends z.ZodType>(schema: Body, text: string): z.output<Body> => schema.parse(JSON.parse(text));

/** Listens to what is published about every shard. Unsubscribe to end it. */
export const hear = <Body extends z.ZodType>(
  connection: NatsConnection,
  publication: Publication<Body>,
  { isNeeded = () => true, heard, fault = () => undefined }: HearOptions<z.output<Body>>,
): Subscription =>
  connection.subscribe(everyShard(publication), {
    callback: (error, message) => {
      if (error !== null) {
        fault(error, everyShard(publication));
        return;
      }
      if (!isNeeded()) return;
      const shard = shardOfSubject(publication, message.subject);
      if (shard === undefined) return;
      let body: z.output<Body>;
      try {
        body = readBody(publication.body, message.string());
      } catch (problem) {
        fault(problem, message.subject);
        return;
      }
      heard(body, shard);
    },
  });
