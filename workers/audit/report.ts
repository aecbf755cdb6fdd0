import { formatPosition } from "#lua/core/position";
import { DifferenceKind, type Difference } from "./difference.ts";
import type { LogPosition } from "./facts.ts";
import type { Judgement } from "./judgement.ts";
import type { Balance, Reading } from "./reading.ts";

/** A sale's balance; total = free + reserved + inFlight + sold unless a difference says otherwise. */
export interface SaleReport extends Readonly<Balance> {
  readonly id: string;
  /** purchases with two live orders, and order ids used twice */
  readonly duplicates: number;
  /** purchases that one side has and the other has not */
  readonly orphans: number;
}

/** Where a shard was. For the reader: only differences decide. */
interface ShardReport {
  readonly shard: number;
  /** last entry in Redis when its units were read */
  readonly redis: string;
  /** what Postgres had applied a moment later */
  readonly applied: string;
  /** last record in the log, or null */
  readonly log: string | null;
}

export interface AuditReport {
  /** no difference */
  readonly ok: boolean;
  readonly sales: readonly SaleReport[];
  readonly differences: readonly Difference[];
  readonly shards: readonly ShardReport[];
  /** live orders compared */
  readonly orders: number;
}

const ORPHANS: ReadonlySet<DifferenceKind> = new Set([DifferenceKind.orderWithoutReservation, DifferenceKind.reservationWithoutOrder]);
const DUPLICATES: ReadonlySet<DifferenceKind> = new Set([DifferenceKind.duplicateOrder, DifferenceKind.duplicatePosition]);

export const reportOf = (
  reading: Reading,
  judgement: Judgement,
  differences: readonly Difference[],
  log: readonly LogPosition[],
): AuditReport => {
  const sales = [...reading.postgres.sales.values()].map((sale) => {
    const report = {
      id: sale.id,
      total: sale.totalUnits,
      free: 0,
      reserved: 0,
      inFlight: 0,
      sold: 0,
      rejected: 0,
      duplicates: 0,
      orphans: 0,
    };
    for (const balance of judgement.balances) {
      if (balance.saleId !== sale.id) continue;
      report.free += balance.free;
      report.reserved += balance.reserved;
      report.inFlight += balance.inFlight;
      report.sold += balance.sold;
      report.rejected += balance.rejected;
    }
    for (const found of differences) {
      if (found.saleId !== sale.id) continue;
      if (ORPHANS.has(found.kind)) report.orphans += found.count;
      if (DUPLICATES.has(found.kind)) report.duplicates += found.count;
    }
    return report;
  });
  const shards = reading.before.map(({ shard, last }) => {
    const row = reading.postgres.shards.get(shard);
    return {
      shard,
      redis: formatPosition(last),
      applied: row === undefined ? "-" : formatPosition({ epoch: row.epoch, seq: row.applied }),
      log: log.find((position) => position.shard === shard)?.carries ?? null,
    };
  });
  const orders = reading.compared.tallies.reduce((total, tally) => total + tally.liveOrders, 0);
  return { ok: differences.length === 0, sales, differences, shards, orders };
};
