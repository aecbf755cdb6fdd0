import type { Counter } from "prom-client";
import { InvariantViolation } from "#lua/core/invariant";
import type { Clock } from "#protocol/ports";
import { orderOf } from "./about-order.ts";
import type { OnViolation } from "./violations.ts";
import type { Log } from "./log.ts";
import { rarely } from "./rarely.ts";

/** What a part of a program calls with each of its faults. @param where one of few; a label of the counter */
export type Faults = (where: string) => (error: unknown) => void;

export interface FaultLogOptions {
  readonly log: Log;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** counts every fault */
  readonly counter: Counter<"where">;
  /** logs an invariant violation; it is counted as a fault too, and not logged here */
  readonly onViolation: OnViolation;
}

/** Counts every fault of a program that goes on, and logs each rarely (rarely.ts). */
export const faultLog = ({ log, clock, counter, onViolation }: FaultLogOptions): Faults => {
  const isNews = rarely(clock);
  return (where) => (error) => {
    counter.inc({ where });
    if (error instanceof InvariantViolation) return onViolation(error);
    const news = isNews(where, error instanceof Error ? error.message : String(error));
    if (news !== undefined) log.warn({ where, ...orderOf(error), err: error, ...news }, "failed, will be tried again");
  };
};

/** Logs invariant violations rarely (every batch may meet one), for a process that goes on after it. */
export const logViolation = (log: Log, clock: Pick<Clock, "monotonicMs">): OnViolation => {
  const isNews = rarely(clock);
  return (error) => {
    const news = isNews(`${error.invariant} at ${error.place}`, error.message);
    if (news !== undefined) log.error({ alert: true, err: error, ...news }, "invariant violated: refused to go on from it");
  };
};
