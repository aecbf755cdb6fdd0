import { DifferenceKind, type Difference } from "./difference.ts";
import type { GrantRow, SaleRow } from "./facts.ts";

export const sum = <T>(items: Iterable<T>, units: (item: T) => number): number => {
  let total = 0;
  for (const item of items) total += units(item);
  return total;
};

export const difference = (kind: DifferenceKind, saleId: string | null, shard: number | null, detail: string): Difference => ({
  kind,
  saleId,
  shard,
  uid: null,
  count: 1,
  detail,
});

/** Counters of one sale on one shard against the rows that they count, all from one snapshot. */
export const judgeCounters = (
  sale: SaleRow,
  shard: number,
  row: { quota: number; sold: number },
  grants: readonly GrantRow[],
  sent: number,
  live: number,
) => {
  const differences: Difference[] = [];
  const arrived = sum(grants, (grant) => (grant.done && !grant.returned ? grant.units : 0)) - sent;
  const returning = sum(grants, (grant) => (!grant.done && grant.returned ? grant.units : 0));
  if (row.quota !== arrived)
    differences.push(
      difference(
        DifferenceKind.quota,
        sale.id,
        shard,
        `quota is ${row.quota}, its grants that arrived, less ${sent} units sent away, are ${arrived}`,
      ),
    );
  if (row.sold !== live + returning)
    differences.push(
      difference(
        DifferenceKind.soldCounter,
        sale.id,
        shard,
        `sold is ${row.sold}, live orders hold ${live} and ${returning} are returning`,
      ),
    );
  if (row.sold > row.quota)
    differences.push(difference(DifferenceKind.oversold, sale.id, shard, `sold is ${row.sold}, the quota ${row.quota}`));
  return differences;
};
