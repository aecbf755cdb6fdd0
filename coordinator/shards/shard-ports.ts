import type { CloseShard, ShardClosed } from "#lua/shard/close";
import type { KeepAnswer, KeepShard } from "#lua/shard/keep";
import type { LeaseAnswer } from "#lua/shard/lease";
import type { OpenAnswer, OpenShard } from "#lua/shard/open";
import type { Position } from "#lua/core/position";
import type { RenewAnswer, RenewShard } from "#lua/shard/renew";
import type { ShardState } from "#lua/shard/shard-state";
import type { RequestError, RestoreProgress } from "#protocol/requests";
import type { ShardRow } from "#protocol/row";
import type { Outbox, OutboxEntry } from "./relay/relay-ports.ts";

type Of<Request> = Omit<Request, "shard">;

/** The scripts of `lua/`, bound to one shard and its server. Every call may throw; its outcome is then unknown. */
export interface ShardStore {
  state(): Promise<ShardState>;
  acquireLease(token: string, leaseMs: number): Promise<LeaseAnswer>;
  releaseLease(token: string): Promise<LeaseAnswer>;
  close(request: Of<CloseShard>): Promise<ShardClosed>;
  keep(request: Of<KeepShard>): Promise<KeepAnswer>;
  open(request: Of<OpenShard>): Promise<OpenAnswer>;
  renew(request: Of<RenewShard>): Promise<RenewAnswer>;
  /** ids of the sales that this Redis has, in no order */
  listSales(): Promise<readonly string[]>;
  /** reads without waiting; throws CorruptEntry for an entry that is not ours */
  readOutbox(after: Position, count: number): Promise<readonly OutboxEntry[]>;
  /** a connection of its own for the relay */
  openOutbox(): Outbox;
}

/** What a rebuild came to: `done`, or why not. */
export type Restored = "done" | RequestError;

/** The shard's row in Postgres, through a worker. Every call may throw: no worker, or no answer in time. */
export interface Rows {
  row(): Promise<ShardRow>;
  /** The row, and which of these sales were archived before it was as it is. */
  rowAndArchived(saleIds: readonly string[]): Promise<{ readonly row: ShardRow; readonly archived: readonly string[] }>;
  /**
   * Asks a worker to write the shard's keys anew from Postgres.
   * @throws if no progress is heard for a while: the restore may still end
   */
  restore(
    request: { readonly epoch: number; readonly attempt: string; readonly replicationId: string },
    stop: AbortSignal,
    progress: (progress: RestoreProgress) => void,
  ): Promise<Restored>;
}

/** What the shard's Redis and the broker are set to. */
export interface StoreSettings {
  /**
   * Looks, and says what is wrong (#program/setting-problems).
   * @returns why the shard must not sell on them, in words; empty if it may
   * @throws if a store does not answer
   */
  refusals(): Promise<readonly string[]>;
}
