import type { EntriesRecord, MarkerRecord } from "#protocol/log-record";
import { RestoreMode, type ShardRow } from "#protocol/row";
import { EntryKind, type Entry, type OrderEntry } from "#lua/shard/entry";
import { unpackPurchase } from "#lua/stock/fields";
import { parsePosition } from "#lua/core/position";
import { Unappliable, type PlannedGrant, type PlannedOrder, type PlannedWithdrawal } from "./apply-store.ts";

/** Stock moves and sales in the order of their entries: a unit must not be sold before the grant that brought it. */
export type PlannedStep =
  | { readonly kind: "grant"; readonly grants: PlannedGrant[] }
  | { readonly kind: "withdraw"; readonly withdrawal: PlannedWithdrawal }
  | { readonly kind: "sell"; readonly orders: PlannedOrder[] };

export type EntriesPlan =
  /** another epoch's entries: history */
  | { readonly kind: "foreign" }
  /** all of it is applied */
  | { readonly kind: "repeat" }
  /** does not follow `applied` */
  | { readonly kind: "gap" }
  | { readonly kind: "apply"; readonly entries: readonly Entry[]; readonly steps: readonly PlannedStep[]; readonly applied: number };

const ordersOf = (entry: OrderEntry): PlannedOrder[] => {
  const purchases = entry.purchases.split(" ");
  if (purchases.length !== entry.count)
    throw new Unappliable(`entry ${entry.seq}: ${entry.count} purchases announced, ${purchases.length} there`);
  return purchases.map((text, index) => {
    const purchase = unpackPurchase(text);
    if (purchase === undefined) throw new Unappliable(`entry ${entry.seq}: purchase ${index} cannot be read`);
    const { uid, key, units } = purchase;
    return { saleId: entry.saleId, uid, key, units, seq: entry.seq, index, atMs: entry.atMs };
  });
};

/**
 * DESIGN 4.6: what is at or before `applied` is skipped; the next must be `applied` + 1 in the row's epoch.
 * @throws Unappliable if an entry's purchases cannot be read
 */
export const planEntries = (row: ShardRow, record: EntriesRecord): EntriesPlan => {
  if (record.epoch !== row.epoch) return { kind: "foreign" };
  const entries = record.entries.filter((entry) => entry.seq > row.applied);
  const first = entries[0];
  if (first === undefined) return { kind: "repeat" };
  if (first.seq !== row.applied + 1) return { kind: "gap" };
  const steps: PlannedStep[] = [];
  for (const entry of entries) {
    const last = steps.at(-1);
    if (entry.kind === EntryKind.order) {
      const orders = ordersOf(entry);
      if (last?.kind === "sell") last.orders.push(...orders);
      else steps.push({ kind: "sell", orders });
    } else if (entry.kind === EntryKind.granted) {
      const grant = { saleId: entry.saleId, grantId: entry.grantId, units: entry.units };
      if (last?.kind === "grant") last.grants.push(grant);
      else steps.push({ kind: "grant", grants: [grant] });
    } else {
      const { saleId, seq, receiver, units } = entry;
      steps.push({ kind: "withdraw", withdrawal: { saleId, seq, receiver, units } });
    }
  }
  return { kind: "apply", entries, steps, applied: row.applied + entries.length };
};

export type MarkerPlan =
  /** the row is not where the attempt found it: another attempt was first */
  | { readonly kind: "ignore" }
  /** the flush before the marker was lost */
  | { readonly kind: "gap" }
  | { readonly kind: "begin"; readonly mode: RestoreMode };

/** DESIGN 7.1 step 2, decided when the log comes to the marker. */
export const planMarker = (row: ShardRow, marker: MarkerRecord): MarkerPlan => {
  if (row.epoch !== marker.from) return { kind: "ignore" };
  const upto = parsePosition(marker.upto);
  // Epoch 0 is "none": a Redis without an epoch has nothing that could be kept. An outbox of another epoch than its
  // own Redis was tampered with.
  const comparable = row.epoch > 0 && marker.redisEpoch === row.epoch && upto?.epoch === row.epoch;
  if (!comparable) return { kind: "begin", mode: RestoreMode.rebuild };
  if (row.applied < upto.seq) return { kind: "gap" };
  return { kind: "begin", mode: row.applied === upto.seq && !row.wall ? RestoreMode.keep : RestoreMode.rebuild };
};
