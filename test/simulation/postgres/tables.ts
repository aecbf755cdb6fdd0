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
}

export interface SaleShardRow {
  readonly saleId: string;
  readonly shard: number;
  quota: number;
  sold: number;
  /** what Redis was last told; written by statements of their own, beside the shard's transactions */
  readonly delivered: { version: number; epoch: number };
}

export interface OrderRow {
  readonly saleId: string;
  readonly uid: string;
  readonly key: string;
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly index: number;
  readonly units: number;
  state: "pending_payment" | "rejected";
  reason: string | null;
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
});

export const purchaseKey = (saleId: string, uid: string, key: string): string => `${saleId} ${uid} ${key}`;
export const grantKey = (saleId: string, id: string): string => `${saleId} ${id}`;
