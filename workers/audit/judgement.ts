import { formatPosition } from "#lua/core/position";
import { judgeArchived } from "./archived.ts";
import { difference, judgeCounters, sum } from "./counters.ts";
import { DifferenceKind, type Difference } from "./difference.ts";
import type { GrantRow, PostgresFacts, SaleRow, ShardInRedis } from "./facts.ts";
import type { Reading, ShardBalance } from "./reading.ts";
import type { Tally } from "./sale-set.ts";

export interface Judgement {
  readonly balances: readonly ShardBalance[];
  readonly differences: readonly Difference[];
  /** shards that were in recovery or began an epoch while they were read: nothing else is said about them */
  readonly unsettled: ReadonlySet<number>;
}

/** After a fault has ended, what was sold is applied within a lease, an epoch and a back-off of the relay. */
const STUCK_MS = 30_000;

/** Postgres has what this server does not: it lost its tail, or was promoted without it. */
export const isBehind = ({ last }: Pick<ShardInRedis, "last">, row: { readonly epoch: number; readonly applied: number }): boolean =>
  last.epoch < row.epoch || last.seq < row.applied;

/** Positions of the three readings of one shard. */
const judgeShard = (before: ShardInRedis, after: ShardInRedis, postgres: PostgresFacts): Difference[] => {
  const { shard } = before;
  const row = postgres.shards.get(shard);
  if (row === undefined) return [difference(DifferenceKind.unsettled, null, shard, "Postgres has no row for this shard")];
  if (before.epoch !== row.epoch || after.epoch !== row.epoch) {
    const epochs = `Redis was in epoch ${before.epoch}, Postgres in ${row.epoch}, then Redis in ${after.epoch}`;
    return [difference(DifferenceKind.unsettled, null, shard, epochs)];
  }
  if (isBehind(after, row) && !after.isOpen) {
    const positions = `Postgres is at ${row.epoch}-${row.applied}, Redis's last entry is ${after.last.epoch}-${after.last.seq}`;
    return [difference(DifferenceKind.unsettled, null, shard, `${positions}, and it does not sell: an epoch has to begin`)];
  }
  const differences: Difference[] = [];
  if (before.applied?.epoch === row.epoch && before.applied.seq > row.applied)
    differences.push(
      difference(
        DifferenceKind.appliedAhead,
        null,
        shard,
        `Redis has ${before.applied.seq} settled as applied, Postgres is at ${row.applied} of epoch ${row.epoch}`,
      ),
    );
  if (isBehind(after, row))
    differences.push(
      difference(
        DifferenceKind.redisBehind,
        null,
        shard,
        `Postgres is at ${row.epoch}-${row.applied}, Redis's last entry is ${after.last.epoch}-${after.last.seq}`,
      ),
    );
  const { first } = before;
  if (first?.epoch === row.epoch && first.seq > row.applied && first.ageMs > STUCK_MS)
    differences.push(
      difference(
        DifferenceKind.outboxStuck,
        null,
        shard,
        `entry ${formatPosition(first)} was made ${Math.round(first.ageMs / 1_000)} s ago, Postgres is at ${row.epoch}-${row.applied}`,
      ),
    );
  for (const saleId of before.sales.keys())
    if (!postgres.sales.has(saleId))
      differences.push(difference(DifferenceKind.unknownSale, saleId, shard, "Redis has this sale, Postgres does not"));
  return differences;
};

/**
 * Whether a transfer's units had left the donor at its cutoff, or a returned unit had been sold. The shards' cutoffs are not one
 * instant, so a receiver may have taken units in that its donor, read a moment earlier, still had: those count where they arrived.
 */
const hadLeft = (grant: GrantRow, shards: readonly ShardInRedis[]): boolean => {
  const from = grant.order === undefined ? grant.from : { shard: grant.shard, ...grant.order };
  const donor = from === undefined ? undefined : shards.find(({ shard }) => shard === from.shard);
  if (from === undefined || donor === undefined) return true;
  if (from.epoch !== donor.epoch) return from.epoch < donor.epoch;
  return donor.last.epoch === donor.epoch && from.seq <= donor.last.seq;
};

/** Units that another shard had taken in although this one, read earlier, still had them. */
const alreadyArrived = (grants: readonly GrantRow[], donor: number, shards: readonly ShardInRedis[]): number =>
  sum(grants, (grant) => {
    if (grant.from?.shard !== donor || hadLeft(grant, shards)) return 0;
    const receiver = shards.find(({ shard }) => shard === grant.shard);
    return receiver?.sales.get(grant.saleId)?.grants.has(grant.id) === true ? grant.units : 0;
  });

const judgeGrants = (
  sale: SaleRow,
  shard: number,
  grants: readonly GrantRow[],
  before: ShardInRedis,
  after: ShardInRedis,
  shards: readonly ShardInRedis[],
): { readonly inFlight: number; readonly differences: Difference[] } => {
  const differences: Difference[] = [];
  const taken = before.sales.get(sale.id)?.grants ?? new Set<string>();
  const takenLater = after.sales.get(sale.id)?.grants ?? new Set<string>();
  let inFlight = 0;
  for (const grant of grants) {
    if (taken.has(grant.id)) continue;
    if (grant.done && !takenLater.has(grant.id))
      differences.push(
        difference(DifferenceKind.grantLost, sale.id, shard, `grant ${grant.id} (${grant.units} units) is done, Redis does not know it`),
      );
    else if (hadLeft(grant, shards)) inFlight += grant.units;
  }
  const known = new Set(grants.map((grant) => grant.id));
  for (const id of taken)
    if (!known.has(id))
      differences.push(difference(DifferenceKind.grantUnknown, sale.id, shard, `Redis took in grant ${id}, Postgres does not know it`));
  return { inFlight, differences };
};

const NO_TALLY = { soldUnits: 0, liveUnits: 0, reservedUnits: 0, withdrawnUnits: 0, rejected: 0 };

const judgeSale = (
  sale: SaleRow,
  reading: Reading,
  tallies: ReadonlyMap<string, Tally>,
): { balances: ShardBalance[]; differences: Difference[] } => {
  const { postgres } = reading;
  const balances: ShardBalance[] = [];
  const differences: Difference[] = [];
  const grantsOfSale = postgres.grants.filter((grant) => grant.saleId === sale.id);
  const rows = postgres.saleShards.filter((row) => row.saleId === sale.id);
  for (const [index, before] of reading.before.entries()) {
    const { shard } = before;
    const after = reading.after[index] ?? before;
    const tally = tallies.get(`${sale.id} ${shard}`) ?? NO_TALLY;
    const row = rows.find((candidate) => candidate.shard === shard);
    const grants = grantsOfSale.filter((grant) => grant.shard === shard);
    const inRedis = before.sales.get(sale.id);
    if (row === undefined && grants.length === 0 && inRedis === undefined && tally === NO_TALLY) continue;
    const granted = judgeGrants(sale, shard, grants, before, after, reading.before);
    const sent = sum(grantsOfSale, (grant) => (grant.from?.shard === shard ? grant.units : 0));
    balances.push({
      saleId: sale.id,
      shard,
      total: sum(grants, (grant) => (grant.returned ? 0 : grant.units)) - sent,
      free: (inRedis?.leftUnits ?? 0) - alreadyArrived(grantsOfSale, shard, reading.before),
      reserved: tally.reservedUnits,
      inFlight: granted.inFlight + tally.withdrawnUnits,
      sold: tally.soldUnits,
      rejected: tally.rejected,
    });
    differences.push(...granted.differences, ...judgeCounters(sale, shard, row ?? { quota: 0, sold: 0 }, grants, sent, tally.liveUnits));
    const left = after.sales.get(sale.id)?.leftUnits ?? 0;
    if (sale.soldOut && left > 0)
      differences.push(difference(DifferenceKind.falseSoldOut, sale.id, shard, `flagged sold out, the shard has ${left} units`));
  }
  const whole = sum(balances, (balance) => balance.free + balance.reserved + balance.inFlight + balance.sold);
  if (whole !== sale.totalUnits) {
    const part = (name: "free" | "reserved" | "inFlight" | "sold"): number => sum(balances, (balance) => balance[name]);
    const parts = `free ${part("free")} + reserved ${part("reserved")} + in flight ${part("inFlight")} + sold ${part("sold")}`;
    differences.push(difference(DifferenceKind.units, sale.id, null, `total is ${sale.totalUnits}, ${parts} = ${whole}`));
  }
  const moving =
    sum(grantsOfSale, (grant) => (grant.done ? 0 : grant.units)) +
    sum(tallies.values(), (tally) => (tally.saleId === sale.id ? tally.withdrawnUnits : 0));
  if (sale.soldOut && moving > 0)
    differences.push(difference(DifferenceKind.falseSoldOut, sale.id, null, `flagged sold out, ${moving} units are on their way`));
  const quota = sum(rows, (row) => row.quota);
  const sent = sum(grantsOfSale, (grant) => (grant.done || grant.returned ? 0 : grant.units));
  if (quota + sent !== sale.totalUnits && !differences.some((found) => found.kind === DifferenceKind.quota))
    differences.push(
      difference(DifferenceKind.quota, sale.id, null, `quota ${quota} + grants under way ${sent} is not the total ${sale.totalUnits}`),
    );
  const live = sum(reading.before, ({ shard }) => tallies.get(`${sale.id} ${shard}`)?.liveUnits ?? 0);
  if (live > sale.totalUnits || quota > sale.totalUnits)
    differences.push(
      difference(DifferenceKind.oversold, sale.id, null, `live orders hold ${live} units, quota ${quota}, total ${sale.totalUnits}`),
    );
  return { balances, differences };
};

/** Pure: what one round's reading says. */
export const judge = (reading: Reading): Judgement => {
  const tallies = new Map(reading.compared.tallies.map((tally) => [`${tally.saleId} ${tally.shard}`, tally]));
  const differences: Difference[] = [];
  for (const [index, before] of reading.before.entries())
    differences.push(...judgeShard(before, reading.after[index] ?? before, reading.postgres));
  const unsettled = new Set(differences.filter((found) => found.kind === DifferenceKind.unsettled).map((found) => found.shard as number));
  const balances: ShardBalance[] = [];
  for (const sale of reading.postgres.sales.values()) {
    const judged = sale.isArchived ? judgeArchived(sale, reading, tallies) : judgeSale(sale, reading, tallies);
    balances.push(...judged.balances);
    const isWhole = !judged.balances.some((balance) => unsettled.has(balance.shard));
    differences.push(...judged.differences.filter((found) => (found.shard === null ? isWhole : !unsettled.has(found.shard))));
  }
  for (const { shard, foreign } of reading.before)
    for (const { key, saleId, wanted, found } of foreign)
      differences.push(difference(DifferenceKind.unreadable, saleId, shard, `${key} is a ${found}, where a ${wanted} belongs`));
  differences.push(...reading.postgres.unmatched);
  // a finding without a shard (a limit, a list cut short) may come from an unsettled one: only trusted when there is none
  differences.push(
    ...reading.compared.differences.filter((found) => (found.shard === null ? unsettled.size === 0 : !unsettled.has(found.shard))),
  );
  return { balances, differences, unsettled };
};
