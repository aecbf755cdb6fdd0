import type { Stock } from "#lua/stock/stock";
import type { SoldOutFacts } from "#protocol/requests";
import type { SoldOutFlag } from "#protocol/sale";

/** What the sold-out decision looks at. Every call may throw; nothing is decided then. */
export interface SoldOutPorts {
  /** a sale's stock on one of its shards */
  stock(shard: number, saleId: string): Promise<Stock>;
  /** the flags that stand in Postgres */
  flags(): Promise<readonly SoldOutFlag[]>;
  /** what Postgres knows */
  facts(saleId: string): Promise<SoldOutFacts>;
  /** @returns false if `returns_seq` has moved on since: nothing was set */
  setSoldOut(saleId: string, returnsSeq: number): Promise<boolean>;
}
