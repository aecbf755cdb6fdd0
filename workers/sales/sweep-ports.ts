import type { DefineSale, DefineSaleAnswer } from "#lua/stock/sale";
import type { Grant, GrantAnswer } from "#lua/stock/grant";
import type { SettleAnswer } from "#lua/shard/settle";
import type { ArchiveSaleAnswer, UndroppedSale } from "./archive-ports.ts";

/** A definition that Redis may not have in this epoch. */
export type UndeliveredSale = DefineSale;

export interface SentGrant extends Grant {
  /** the sale had been flagged sold out before the grant was recorded */
  readonly flagged: boolean;
  /** a unit that its order may still take back: to be offered before Redis gets it */
  readonly revocable: boolean;
}

/** Where a shard's row is. */
export interface AppliedPosition {
  readonly shard: number;
  readonly epoch: number;
  readonly applied: number;
  readonly wall: boolean;
}

/** What Postgres wants Redis to know, of all shards that have an epoch. */
export interface SweepStore {
  undelivered(): Promise<readonly UndeliveredSale[]>;
  sentGrants(): Promise<readonly SentGrant[]>;
  positions(): Promise<readonly AppliedPosition[]>;
  /**
   * From its commit on no order takes these units back: Redis may get them.
   * @returns those that no order had taken back before
   */
  offer(grants: readonly SentGrant[]): Promise<readonly SentGrant[]>;
  /** The definition is in Redis: not asked for again in this epoch. */
  delivered(sale: UndeliveredSale): Promise<void>;
  /** Redis does not have the sale after all. */
  notDelivered(shard: number, saleId: string): Promise<void>;
  /** Archived sales that Redis may have still; some at a time. */
  undropped(): Promise<readonly UndroppedSale[]>;
  /** Redis does not have the archived sale any more: not asked for again. */
  dropped(sale: UndroppedSale): Promise<void>;
}

/** The shards' Redis; a shard that is not open answers so. */
export interface SweepShards {
  defineSale(sale: DefineSale): Promise<DefineSaleAnswer>;
  grant(grant: Grant): Promise<GrantAnswer>;
  settle(position: Omit<AppliedPosition, "wall">): Promise<SettleAnswer>;
  drop(sale: UndroppedSale): Promise<ArchiveSaleAnswer>;
}
