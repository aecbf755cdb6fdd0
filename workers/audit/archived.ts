import { difference, judgeCounters, sum } from "./counters.ts";
import { DifferenceKind, type Difference } from "./difference.ts";
import type { SaleRow } from "./facts.ts";
import type { Reading, ShardBalance } from "./reading.ts";
import type { Tally } from "./sale-set.ts";

/**
 * An archived sale (DESIGN 7.6): its units are counted in Postgres alone, by the one snapshot. A Redis that was told has
 * nothing of it; one that was not may have it still.
 */
export const judgeArchived = (
  sale: SaleRow,
  { postgres, after }: Reading,
  tallies: ReadonlyMap<string, Tally>,
): { balances: ShardBalance[]; differences: Difference[] } => {
  const balances: ShardBalance[] = [];
  const differences: Difference[] = [];
  const ofSale = postgres.grants.filter((grant) => grant.saleId === sale.id);
  for (const row of postgres.saleShards.filter(({ saleId }) => saleId === sale.id)) {
    const { shard, quota, sold } = row;
    const tally = tallies.get(`${sale.id} ${shard}`);
    const grants = ofSale.filter((grant) => grant.shard === shard);
    const sent = sum(ofSale, (grant) => (grant.from?.shard === shard ? grant.units : 0));
    const live = tally?.liveUnits ?? 0;
    balances.push({
      saleId: sale.id,
      shard,
      total: sum(grants, (grant) => (grant.returned ? 0 : grant.units)) - sent,
      free: quota - sold,
      reserved: tally?.reservedUnits ?? 0,
      inFlight: sum(grants, (grant) => (grant.done ? 0 : grant.units)) + (tally?.withdrawnUnits ?? 0),
      sold: live,
      rejected: tally?.rejected ?? 0,
    });
    differences.push(...judgeCounters(sale, shard, row, grants, sent, live));
    if (row.isDropped && after.some((redis) => redis.shard === shard && redis.sales.has(sale.id)))
      differences.push(difference(DifferenceKind.archivedInRedis, sale.id, shard, "Redis has the sale again, or still, after it was told"));
  }
  const whole = sum(balances, (balance) => balance.free + balance.reserved + balance.inFlight + balance.sold);
  if (whole !== sale.totalUnits)
    differences.push(difference(DifferenceKind.units, sale.id, null, `total is ${sale.totalUnits}, Postgres accounts for ${whole}`));
  return { balances, differences };
};
