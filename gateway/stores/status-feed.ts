import type { NatsConnection } from "nats";
import type { Log } from "#program/log";
import { hear } from "#program/requests/publish";
import { publications } from "#protocol/requests/publications";
import type { StatusListener } from "../buy/service-ports.ts";

/** What workers say when they have applied entries. @returns ends it */
export const subscribeStatus = (nats: NatsConnection, log: Log, listener: StatusListener): (() => void) => {
  const subscription = hear(nats, publications.status, {
    isNeeded: () => listener.isNeeded(),
    heard: (event) => listener.onEvent(event),
    fault: (error, subject) => log.warn({ err: error, subject }, "a status event cannot be read"),
  });
  return () => subscription.unsubscribe();
};
