import type { Registry } from "prom-client";
import { logBroken } from "#program/fault-log";
import { brokenCounter, type OnBroken } from "#program/findings";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";

/** Counts and logs; the process goes on. */
export const countBroken = (registry: Registry, log: Log, clock: Clock): OnBroken => {
  const broken = brokenCounter("doorbuster_gateway_broken_total", registry);
  const say = logBroken(log, clock);
  return (error) => {
    broken.inc({ invariant: error.invariant });
    say(error);
  };
};
