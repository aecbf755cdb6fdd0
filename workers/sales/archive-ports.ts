import type { ArchiveSaleAnswer, ArchiveSale } from "#lua/stock/archive";
import type { Stock } from "#lua/stock/stock";
import type { ShardState } from "#lua/shard/shard-state";

/** A sale that may be archived, as far as Postgres can tell. */
export interface EndedSale {
  readonly saleId: string;
  readonly isArchived: boolean;
  /** its window may still be open, and nobody has closed it */
  readonly isOnSale: boolean;
  readonly shards: readonly number[];
}

/** A shard's Redis as it was looked at after it was seen that the sale is closed there. */
export interface LookedShard {
  readonly shard: number;
  readonly epoch: number;
  /** of the last entry that its outbox ever had in this epoch: no later one is of the sale */
  readonly seq: number;
}

export const ArchiveEnd = {
  /** it is archived */
  archived: "archived",
  noSale: "no_sale",
  /** it is not closed, and its window is not over */
  onSale: "on_sale",
  /** a shard's Redis does not know yet that it is closed, does not answer, or is in recovery */
  notClosed: "not_closed",
  /** a shard is in another epoch than the one that was looked at, or has entries that Postgres does not have */
  notApplied: "not_applied",
  /** units are on their way to a shard */
  unitsMoving: "units_moving",
  /** orders are neither paid nor over */
  ordersPending: "orders_pending",
} as const;
export type ArchiveEnd = (typeof ArchiveEnd)[keyof typeof ArchiveEnd];

export interface ArchiveStore {
  /**
   * Sales that ended at least so long ago, by Postgres's clock, and that no order and no grant keeps from being archived;
   * some at a time, the oldest first.
   */
  due(afterMs: number): Promise<readonly string[]>;
  /** The sale, closed now if its window is over and nobody has closed it; undefined if there is none. */
  end(saleId: string): Promise<EndedSale | undefined>;
  /**
   * Archives it by one transaction, if each shard's row is in the epoch that was looked at and has applied what was seen, no
   * grant of it is undone and no order pending.
   */
  archive(saleId: string, looked: readonly LookedShard[]): Promise<ArchiveEnd>;
}

/** The shards' Redis. */
export interface ArchiveShards {
  stock(shard: number, saleId: string): Promise<Stock>;
  state(shard: number): Promise<ShardState>;
}

/** An archived sale that a shard's Redis may have. */
export type UndroppedSale = ArchiveSale;
export type { ArchiveSaleAnswer };
