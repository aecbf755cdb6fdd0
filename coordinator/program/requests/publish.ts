import type { NatsConnection, Subscription } from "nats";
import type { z } from "zod";
import { everyShard, publicationSubject, shardOfSubject, type Publication } from "#protocol/requests/publications";

/** Tells all who listen, if anybody does. Silent on a closed connection. */
export const publish = <Body extends z.ZodType>(
  connection: NatsConnection,
  publication: Publication<Body>,
  shard: number,
  body: z.output<Body>,
): void => {
  if (!connection.isClosed()) connection.publish(publicationSubject(publication, shard), JSON.stringify(body));
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
