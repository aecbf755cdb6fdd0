import type { Stock } from "#lua/stock/stock";
import type { Withdraw, WithdrawAnswer } from "#lua/stock/withdraw";
import type { TransferFacts } from "#protocol/requests";

/** What the movers look at and do. Every call may throw; then nothing is known, and the next look begins anew. */
export interface TransferPorts {
  /** a sale's stock on one of its shards */
  stock(shard: number, saleId: string): Promise<Stock>;
  /** what Postgres knows of the sale's shards */
  facts(saleId: string): Promise<TransferFacts>;
  /** shards that are to be emptied, of all sales */
  draining(): Promise<readonly number[]>;
  withdraw(request: Withdraw): Promise<WithdrawAnswer>;
}
