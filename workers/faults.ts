import type { Clock } from "#protocol/ports";
import type { OnBroken } from "#program/findings";
import type { Log } from "#program/log";
import { BrokenState } from "#lua/core/broken";
import { faultsTotal } from "./metrics.ts";

/** A store that is away for a minute fails every loop many times a second: one line in 5 s says as much. */
const QUIET_MS = 5_000;

/** Counts every fault and logs a place's first, then one in 5 s with how many were left out; what may not be is `onBroken`'s to say. */
export type Faults = (where: string) => (error: unknown) => void;

export const faultLog = (log: Log, clock: Clock, onBroken: OnBroken): Faults => {
  const places = new Map<string, { loggedMs: number; leftOut: number }>();
  return (where) => (error) => {
    faultsTotal.inc({ where });
    if (error instanceof BrokenState) return onBroken(error);
    const nowMs = clock.monotonicMs();
    const place = places.get(where) ?? { loggedMs: -Infinity, leftOut: 0 };
    places.set(where, place);
    if (nowMs - place.loggedMs < QUIET_MS) {
      place.leftOut += 1;
      return;
    }
    const { leftOut } = place;
    log.warn({ where, err: error, leftOut }, "fault, will be repeated");
    place.loggedMs = nowMs;
    place.leftOut = 0;
  };
};
