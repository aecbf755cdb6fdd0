import type { Difference } from "./difference.ts";
import type { Position } from "#lua/core/position";

/** One sale on one shard as Redis holds it, at the instant of the shard's reading. */
export interface SaleInRedis {
  readonly saleId: string;
  /** units not taken; undefined if the sale has no hash on this shard */
  readonly leftUnits: number | undefined;
  /** ids of the grants taken in */
  readonly grants: ReadonlySet<string>;
}

/** A shard in Redis, read in one MULTI: all of it is true at one position. */
export interface ShardInRedis {
  readonly shard: number;
  /** 0 if the server has none */
  readonly epoch: number;
  /** last entry of the outbox, trimmed or not */
  readonly last: Position;
  readonly applied: Position | undefined;
  /** this server is a primary and has the permission to sell in its epoch, expired or not */
  readonly isOpen: boolean;
  /** the first entry that the outbox holds; undefined if it holds none */
  readonly first: (Position & { readonly ageMs: number }) | undefined;
  readonly sales: ReadonlyMap<string, SaleInRedis>;
  /** keys of ours that hold something else; what is said of the rest is said without them */
  readonly foreign: readonly ForeignKey[];
}

/** A key of another type than our programs give it: somebody else wrote it. */
export interface ForeignKey {
  readonly key: string;
  /** null for a key of the whole shard */
  readonly saleId: string | null;
  readonly wanted: "string" | "hash" | "set" | "stream";
  /** as TYPE says it */
  readonly found: string;
}

export interface SaleRow {
  readonly id: string;
  readonly totalUnits: number;
  readonly limitPerBuyer: number;
  readonly soldOut: boolean;
  /** Redis need not have it, and Postgres has all of it */
  readonly isArchived: boolean;
}

interface SaleShardRow {
  readonly saleId: string;
  readonly shard: number;
  readonly quota: number;
  readonly sold: number;
  /** of an archived sale: this Redis was told, and has it no more */
  readonly isDropped: boolean;
}

export interface GrantRow {
  readonly id: string;
  readonly saleId: string;
  readonly shard: number;
  readonly units: number;
  /** `returned`: a unit of an order that is no longer live; lowers `sold` when it arrives, the others raise `quota` */
  readonly returned: boolean;
  readonly done: boolean;
  /** undefined unless it brings units from another shard */
  readonly from: TransferSource | undefined;
  /** the order whose units it gives back; undefined for every other grant */
  readonly order: Position | undefined;
}

/** Where a transfer's units were taken out. */
export interface TransferSource extends Position {
  readonly shard: number;
}

interface ShardPositionRow {
  readonly shard: number;
  readonly epoch: number;
  readonly applied: number;
}

/** Everything but the orders, from the snapshot that the orders are read from too. */
export interface PostgresFacts {
  readonly shards: ReadonlyMap<number, ShardPositionRow>;
  readonly sales: ReadonlyMap<string, SaleRow>;
  readonly saleShards: readonly SaleShardRow[];
  readonly grants: readonly GrantRow[];
  /** closed orders and returned grants that do not belong together, and paid orders and kept payments likewise */
  readonly unmatched: readonly Difference[];
}

/** Last record of a shard's subject in the log. For the reader's eye: no promise rests on the log. */
export interface LogPosition {
  readonly shard: number;
  readonly streamSeq: number;
  /** last entry it carries, or what it begins, readable */
  readonly carries: string;
}
