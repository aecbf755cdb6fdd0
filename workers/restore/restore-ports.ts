import type { ShardRow } from "#protocol/row";
import type { SwapAnswer, SwapShard } from "#lua/shard/swap";

/** A sale of the shard as Redis shall hold it. */
export interface RestoredSale {
  readonly saleId: string;
  readonly version: number;
  readonly state: string;
  readonly limit: number;
  readonly opensAtMs: number;
  readonly closesAtMs: number;
  /** quota - sold */
  readonly left: number;
  /** units in live orders */
  readonly sold: number;
  /** the sale was flagged sold out at some time */
  readonly everSoldOut: boolean;
}

export interface RestoredOrder {
  readonly uid: string;
  readonly key: string;
  readonly epoch: number;
  readonly seq: number;
  readonly index: number;
  readonly units: number;
}

/** One state of Postgres, whatever is committed meanwhile. */
export interface RestoreSnapshot {
  readonly row: ShardRow;
  readonly sales: readonly RestoredSale[];
  /** orders that bind their buyer, a page at a time, sorted by buyer */
  orders(saleId: string): AsyncIterable<readonly RestoredOrder[]>;
  /** refused purchases that no other order of the same buyer and key replaces, the first of each, a page at a time */
  rejected(saleId: string): AsyncIterable<readonly RestoredOrder[]>;
  /** ids of the grants that are done, a page at a time */
  grants(saleId: string): AsyncIterable<readonly string[]>;
}

export interface RestoreSource {
  snapshot<T>(shard: number, read: (snapshot: RestoreSnapshot) => Promise<T>): Promise<T>;
  /** the row as it is now */
  row(shard: number): Promise<ShardRow>;
}

/** Where the staged keys of one attempt are written. Writing twice is the same as once. */
export interface RestoreTarget {
  /** [field, value] pairs of the buyers' hash */
  stageBuyers(saleId: string, fields: readonly (readonly [string, string])[]): Promise<void>;
  stageGrants(saleId: string, grantIds: readonly string[]): Promise<void>;
  stageSale(sale: RestoredSale, moves: { readonly moves: number; readonly movedAt: string }): Promise<void>;
  /** sales that the shard has now */
  listSales(): Promise<readonly string[]>;
  swap(request: Pick<SwapShard, "sales" | "dropped">): Promise<SwapAnswer>;
}
