import type { SaleRecord } from "#protocol/sale";
import type { ShardRow } from "#protocol/row";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export type ShardTableRow = Mutable<ShardRow>;

export interface SaleRow {
  readonly record: Mutable<SaleRecord>;
  totalUnits: number;
  returnsSeq: number;
  soldOutVersion: number | null;
  everSoldOut: boolean;
  archived: boolean;
  /** null while nobody has closed it */
  closedAtMs: number | null;
}

export interface SaleShardRow {
  readonly saleId: string;
  readonly shard: number;
  quota: number;
  sold: number;
  /** what Redis was last told; written by statements of their own, beside the shard's transactions */
  readonly delivered: { version: number; epoch: number };
  /** of an archived sale: 0 until Redis was told */
  droppedEpoch: number | null;
}

export type OrderRowState = "pending_payment" | "paid" | "refunded" | "rejected";

export interface OrderRow {
  readonly saleId: string;
  readonly uid: string;
  readonly key: string;
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly index: number;
  readonly units: number;
  state: OrderRowState;
  reason: string | null;
  /** states that it had, and until when: no table has them, who judges what is told of it needs them */
  readonly past: { readonly state: OrderRowState; readonly untilMs: number }[];
}

export interface GrantRow {
  readonly saleId: string;
  readonly id: string;
  readonly shard: number;
  readonly units: number;
  readonly kind: "opening" | "added" | "returned" | "transfer";
  state: "sent" | "done";
  readonly flagged: boolean;
  readonly createdAtMs: number;
}

/** What Postgres's constraints and conditional statements check; a faulty twin has one of these off. */
export interface PostgresRules {
  /** `sold + n <= quota` */
  readonly guard: boolean;
  /** one binding order a sale, buyer and purchase key */
  readonly uniqueKey: boolean;
  /** the marker's update names the epoch and the position that it ends */
  readonly beginConditional: boolean;
  /** a grant is done once */
  readonly grantOnce: boolean;
  /** a new epoch withdraws the sold-out flags of its sales */
  readonly epochWithdraws: boolean;
  /** more stock withdraws the flag */
  readonly stockWithdraws: boolean;
  /** a flag is set only at the `returns_seq` that was read */
  readonly flagConditional: boolean;
  /** a gap is written into the row */
  readonly recordGap: boolean;
  /** the donor's quota and the receiver's grant change in one transaction */
  readonly withdrawAtOnce: boolean;
  /** a sale is archived only by a look at the epochs that the shards' rows are in */
  readonly archiveEpochs: boolean;
  /** ... if Postgres has applied what was seen */
  readonly archiveApplied: boolean;
  /** ... without an order that is neither paid nor over */
  readonly archivePending: boolean;
  /** ... without units on their way */
  readonly archiveGrants: boolean;
  /** a rebuild writes no archived sale */
  readonly restoreArchived: boolean;
  /** units of an archived sale's orders come back in Postgres alone */
  readonly refundArchived: boolean;
  /** the bucket has no archived sale */
  readonly bucketArchived: boolean;
}

export const POSTGRES_RULES: PostgresRules = Object.freeze({
  guard: true,
  uniqueKey: true,
  beginConditional: true,
  grantOnce: true,
  epochWithdraws: true,
  stockWithdraws: true,
  flagConditional: true,
  recordGap: true,
  withdrawAtOnce: true,
  archiveEpochs: true,
  archiveApplied: true,
  archivePending: true,
  archiveGrants: true,
  restoreArchived: true,
  refundArchived: true,
  bucketArchived: true,
});

export const purchaseKey = (saleId: string, uid: string, key: string): string => `${saleId} ${uid} ${key}`;
export const grantKey = (saleId: string, id: string): string => `${saleId} ${id}`;
