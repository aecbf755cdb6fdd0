import type { NatsConnection, Subscription } from "nats";
import type { Log } from "#program/log";
import { statusEventSchema, type StatusEvent } from "#protocol/status";
import { ALL_STATUS_SUBJECTS } from "#protocol/subjects";

export interface StatusFeedOptions {
  readonly nats: NatsConnection;
  readonly log: Log;
  /** nobody waits: the event need not even be read */
  readonly isNeeded: () => boolean;
  readonly onEvent: (event: StatusEvent) => void;
}

/** What workers say when they have applied entries. Unsubscribe to end it. */
export const subscribeStatus = ({ nats, log, isNeeded, onEvent }: StatusFeedOptions): Subscription =>
  nats.subscribe(ALL_STATUS_SUBJECTS, {
    callback: (error, message) => {
      if (error !== null) {
        log.warn({ err: error }, "status events");
        return;
      }
      if (!isNeeded()) return;
      let body: unknown;
      try {
        body = message.json();
      } catch {
        body = undefined;
      }
      const event = statusEventSchema.safeParse(body);
      if (event.success) onEvent(event.data);
      else log.warn({ subject: message.subject }, "not a status event");
    },
  });
