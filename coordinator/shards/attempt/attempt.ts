import type { Clock, Random } from "#protocol/ports";
import type { RestoreProgress } from "#protocol/requests";
import type { AttemptPhase } from "#protocol/shard-facts";
import type { ShardLog } from "../relay/relay-ports.ts";
import type { Rows, ShardStore } from "../shard-ports.ts";
import type { SoleServer } from "./sole-server.ts";

/** How an attempt ended. Everything but `opened` leaves the shard closed; a later attempt begins anew. */
export const AttemptResult = {
  opened: "opened",
  /** the row forbids selling until an operator looked at it */
  halted: "halted",
  /** another coordinator has the lease */
  notHolder: "not_holder",
  /** the server is a replica */
  notPrimary: "not_primary",
  /** a later attempt, another server or another epoch came in between */
  overtaken: "overtaken",
  /** the worker answered the marker with a gap: the flush was lost */
  gap: "gap",
  /** the row stood still, or could not be read, for too long */
  noProgress: "no_progress",
  /** the broker restarted or lost records while the attempt waited */
  logChanged: "log_changed",
  /** the log took nothing */
  logFull: "log_full",
  /** no worker could write the keys anew */
  restoreFailed: "restore_failed",
  /** a store failed or did not answer */
  fault: "fault",
} as const;
export type AttemptResult = (typeof AttemptResult)[keyof typeof AttemptResult];

/** A step found that the attempt is over. */
export interface Ended {
  readonly result: Exclude<AttemptResult, "opened">;
}

export const endedBy = (result: Ended["result"]): Ended => ({ result });

/** No answer of a port has a `result`. */
export const isEnded = (outcome: unknown): outcome is Ended => typeof outcome === "object" && outcome !== null && "result" in outcome;

export interface AttemptOptions {
  readonly shard: number;
  /** names the lease */
  readonly token: string;
  /** lifetime of the permission to sell */
  readonly openMs: number;
  readonly store: ShardStore;
  readonly rows: Rows;
  readonly log: ShardLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly sole: SoleServer;
  /** called at every step, and in `restore` with every chunk */
  readonly step: (phase: AttemptPhase, restored?: RestoreProgress) => void;
}

/** An attempt that is under way. */
export interface Attempt extends AttemptOptions {
  readonly nonce: string;
  /** the lease is lost, or the process stops */
  readonly stop: AbortSignal;
}
