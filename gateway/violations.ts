import type { Registry } from "prom-client";
import { logViolation } from "#program/fault-log";
import { violationCounter, type OnViolation } from "#program/violations";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";

/** Counts and logs; the process goes on. */
export const countViolations = (registry: Registry, log: Log, clock: Clock): OnViolation => {
  const violationsTotal = violationCounter("doorbuster_gateway_invariant_violations_total", registry);
  const say = logViolation(log, clock);
  return (error) => {
    violationsTotal.inc({ invariant: error.invariant });
    say(error);
  };
};
