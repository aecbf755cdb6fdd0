import { raw, type FilterQuery } from "@mikro-orm/core";
import { StoredSaleState } from "../db/states.ts";
import type { SaleEntity } from "../db/entities.ts";

/** The sales that can still sell, by Postgres's clock: one for all workers. */
export const onSale = (): FilterQuery<SaleEntity> => ({
  state: { $ne: StoredSaleState.closed },
  closesAtMs: { $gt: raw("extract(epoch FROM now()) * 1000") },
});
