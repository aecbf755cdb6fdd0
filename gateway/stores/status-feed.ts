import type { NatsConnection } from "nats";
import type { Log } from "#program/log";
import { statusEventSchema } from "#protocol/status";
import { ALL_STATUS_SUBJECTS } from "#protocol/subjects";
import type { StatusListener } from "../buy/service-ports.ts";

/** What workers say when they have applied entries. @returns ends it */
export const subscribeStatus = (nats: NatsConnection, log: Log, listener: StatusListener): (() => void) => {
  const subscription = nats.subscribe(ALL_STATUS_SUBJECTS, {
    callback: (error, message) => {
      if (error !== null) {
        log.warn({ err: error }, "status events");
        return;
      }
      if (!listener.isNeeded()) return;
      let body: unknown;
      try {
        body = message.json();
      } catch {
        body = undefined;
      }
      const event = statusEventSchema.safeParse(body);
      if (event.success) listener.onEvent(event.data);
      else log.warn({ subject: message.subject }, "not a status event");
    },
  });
  return () => subscription.unsubscribe();
};
