import { faultLog as faultLogOf, type Faults } from "#program/fault-log";
import type { OnViolation } from "#program/violations";
import type { Log } from "#program/log";
import type { Clock } from "#protocol/ports";
import { faultsTotal } from "./metrics.ts";

export type { Faults };

/** The worker's: counts in `doorbuster_worker_faults_total`. */
export const faultLog = (log: Log, clock: Clock, onViolation: OnViolation): Faults =>
  faultLogOf({ log, clock, counter: faultsTotal, onViolation });
