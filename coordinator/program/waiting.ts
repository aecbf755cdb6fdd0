import type { Clock } from "#protocol/ports";
import type { Log } from "./log.ts";

/** A store that comes up with us is there by then. */
const SAY_AFTER_MS = 3_000;
const SAY_AGAIN_MS = 30_000;

/** Where a database is, for people: a URL's host, port and database, or that it cannot be read. */
export const databasePlace = (url: string): string => {
  if (!URL.canParse(url)) return "the address in DATABASE_URL";
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
};

/** Says what a program waits for. */
export interface Waiting {
  /** another try failed */
  failed(error: unknown): void;
  /** it is there */
  over(): void;
}

/** What an error says; one of several addresses that were all tried has no words of its own. */
const reasonOf = (error: unknown): string => {
  if (error instanceof AggregateError && error.message === "") return error.errors.map((each) => reasonOf(each)).join(", ");
  return error instanceof Error ? error.message : String(error);
};

/**
 * For whoever tries to reach a store until it is there: after a moment it is said which one, and why the last try failed.
 * @param store its name and address, without a password
 */
export const sayWaiting = (log: Log, clock: Pick<Clock, "monotonicMs">, store: string): Waiting => {
  let sinceMs: number | undefined;
  let saidMs = Number.NEGATIVE_INFINITY;
  return {
    failed: (error) => {
      const nowMs = clock.monotonicMs();
      sinceMs ??= nowMs;
      if (nowMs - sinceMs < SAY_AFTER_MS || nowMs - saidMs < SAY_AGAIN_MS) return;
      saidMs = nowMs;
      log.warn({ store, waitedMs: Math.round(nowMs - sinceMs), reason: reasonOf(error) }, `waiting for ${store}: ${reasonOf(error)}`);
    },
    over: () => {
      if (saidMs !== Number.NEGATIVE_INFINITY) log.info({ store }, `${store} is there`);
      sinceMs = undefined;
      saidMs = Number.NEGATIVE_INFINITY;
    },
  };
};
