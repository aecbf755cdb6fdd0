import type { RestoreProgress } from "#protocol/requests";
import type { AttemptPhase } from "#protocol/shard-facts";
import type { AttemptResult } from "./attempt/attempt.ts";
import type { RelaySupervisorObserver } from "./relay-supervisor.ts";

/** What happens to a shard, for logs and metrics. */
export interface KeeperObserver extends RelaySupervisorObserver {
  lease(isHeld: boolean): void;
  /** an attempt to begin an epoch has come to this step; while it restores, with how far that is */
  attempting(phase: AttemptPhase, restored?: RestoreProgress): void;
  /** an attempt to begin an epoch has ended; `epoch` is the one it began, or found */
  attempted(result: AttemptResult, epoch: number): void;
  /** whether the shard may sell, as of the last look */
  open(isOpen: boolean, epoch: number): void;
  /** the row forbids selling, or a store is set up wrongly: an operator has to look */
  halted(reason: string): void;
  /**
   * @param entries in the outbox: not yet applied, or not yet settled
   * @param stillMs how long there have been some that are not applied, and none was applied
   */
  lag(entries: number, stillMs: number): void;
}
