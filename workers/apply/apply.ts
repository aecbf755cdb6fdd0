import { decodeLogRecord, type EntriesRecord, type MarkerRecord } from "#protocol/log-record";
import type { RestoreMode, ShardRow } from "#protocol/row";
import { InvariantViolation, Invariant } from "#lua/core/invariant";
import type { Entry } from "#lua/shard/entry";
import { shardPlace } from "#lua/core/keys";
import type { KnownPositions } from "./known.ts";
import { planEntries, planMarker, type EntriesPlan, type PlannedStep } from "./plan.ts";
import {
  GrantFate,
  Unappliable,
  WithdrawFate,
  type ApplyStore,
  type ApplyTransaction,
  type LogDelivery,
  type PlannedGrant,
  type PlannedOrder,
  type PlannedWithdrawal,
  type RejectedOrder,
} from "./apply-store.ts";

/** What a record did, once it is committed. */
export type Applied =
  | {
      readonly kind: "applied" | "repeated";
      /** those applied now; what was skipped may not even be what was applied under its number */
      readonly entries: readonly Entry[];
      readonly epoch: number;
      readonly applied: number;
      /** orders stored as pending_payment now */
      readonly orders: number;
      /** a constraint was violated in this epoch: nothing is settled in Redis before the rebuild */
      readonly wall: boolean;
      /** orders that it refused in this transaction */
      readonly refusedNow: readonly RejectedOrder[];
      /** this transaction met a grant that was done before: a violation, too */
      readonly grantTwice: boolean;
      /** this transaction met units withdrawn that the quota does not have: a violation, too */
      readonly overdrawn: boolean;
      /** all that were refused in this epoch */
      readonly rejected: readonly RejectedOrder[];
    }
  /** entries before this record are missing: the row asks for them */
  | { readonly kind: "gap"; readonly at: number }
  /** another epoch's entries, or a marker that came too late */
  | { readonly kind: "ignored"; readonly epoch: number }
  | { readonly kind: "began"; readonly epoch: number; readonly mode: RestoreMode }
  /** not a record of ours: parked, and the row asks for the entries that it may have carried */
  | { readonly kind: "unreadable"; readonly first: boolean }
  /** can never be applied as it is: nothing was applied, the shard is halted, the record must be delivered again */
  | { readonly kind: "halted"; readonly reason: string; readonly first: boolean };

const REASON_TWICE = "the buyer has an order for this purchase already";
export const REASON_QUOTA = "no unit left in the shard's quota";

const rejectedOrder = (order: PlannedOrder, reason: string): RejectedOrder => ({ seq: order.seq, index: order.index, reason });

/** The constraints that one transaction violated, and what they refused. */
interface Violations {
  readonly rejected: RejectedOrder[];
  /** a grant came a second time */
  grantTwice: boolean;
  /** more units were withdrawn than the quota had unsold */
  overdrawn: boolean;
}

const unitsOf = (orders: readonly PlannedOrder[]): Map<string, number> => {
  const units = new Map<string, number>();
  for (const order of orders) units.set(order.saleId, (units.get(order.saleId) ?? 0) + order.units);
  return units;
};

/** The quota refused a sale's orders together: those that fit, in the order of their positions, are sold; the others are rejected. */
const sellWhatFits = async (
  transaction: ApplyTransaction,
  epoch: number,
  saleId: string,
  orders: readonly PlannedOrder[],
): Promise<readonly RejectedOrder[]> => {
  let room = await transaction.roomOf(saleId);
  if (room === undefined) throw new Unappliable(`sale ${saleId} is not on this shard`);
  let fitting = 0;
  const over: PlannedOrder[] = [];
  for (const order of orders) {
    if (order.units > room) {
      over.push(order);
      continue;
    }
    room -= order.units;
    fitting += order.units;
  }
  await transaction.rejectInserted(epoch, over, REASON_QUOTA);
  if (fitting > 0 && (await transaction.sell(new Map([[saleId, fitting]]))).length > 0)
    throw new Error(`sale ${saleId}: the quota changed under the shard's lock`);
  return over.map((order) => rejectedOrder(order, REASON_QUOTA));
};

const sell = async (
  transaction: ApplyTransaction,
  epoch: number,
  orders: readonly PlannedOrder[],
  violations: Violations,
): Promise<void> => {
  if (orders.length === 0) return;
  for (const saleId of await transaction.sell(unitsOf(orders))) {
    const ofSale = orders.filter((order) => order.saleId === saleId);
    violations.rejected.push(...(await sellWhatFits(transaction, epoch, saleId, ofSale)));
  }
};

const takeGrants = async (transaction: ApplyTransaction, grants: readonly PlannedGrant[], violations: Violations): Promise<void> => {
  const fates = await transaction.takeGrants(grants);
  for (const [index, fate] of fates.entries()) {
    const { saleId, grantId, units } = grants[index] as PlannedGrant;
    if (fate === GrantFate.unknown) throw new Unappliable(`grant ${grantId} of ${units} units for sale ${saleId} is not in Postgres`);
    if (fate === GrantFate.doneBefore) violations.grantTwice = true;
  }
};

/** A refused withdrawal changes nothing: its units stay in the donor's quota, and the rebuild gives them back to its Redis. */
const withdrawUnits = async (
  transaction: ApplyTransaction,
  epoch: number,
  withdrawal: PlannedWithdrawal,
  violations: Violations,
): Promise<void> => {
  const fate = await transaction.withdraw(epoch, withdrawal);
  if (fate === WithdrawFate.unknown) throw new Unappliable(`sale ${withdrawal.saleId} is not on this shard`);
  if (fate === WithdrawFate.overdrawn) violations.overdrawn = true;
};

const applySteps = async (transaction: ApplyTransaction, epoch: number, steps: readonly PlannedStep[]): Promise<Violations> => {
  const violations: Violations = { rejected: [], grantTwice: false, overdrawn: false };
  const orders = steps.flatMap((step) => (step.kind === "sell" ? step.orders : []));
  const refused = orders.length === 0 ? [] : await transaction.insertOrders(epoch, orders);
  if (refused.length > 0) {
    await transaction.insertRejected(epoch, refused, REASON_TWICE);
    violations.rejected.push(...refused.map((order) => rejectedOrder(order, REASON_TWICE)));
  }
  const out = new Set(refused);
  for (const step of steps) {
    if (step.kind === "grant") await takeGrants(transaction, step.grants, violations);
    else if (step.kind === "withdraw") await withdrawUnits(transaction, epoch, step.withdrawal, violations);
    else await sell(transaction, epoch, out.size === 0 ? step.orders : step.orders.filter((order) => !out.has(order)), violations);
  }
  return violations;
};

const countOrders = (plan: EntriesPlan & { kind: "apply" }): number =>
  plan.steps.reduce((sum, step) => sum + (step.kind === "sell" ? step.orders.length : 0), 0);

const repeated = (epoch: number, applied: number): Applied & { readonly kind: "applied" | "repeated" } => ({
  kind: "repeated",
  entries: [],
  epoch,
  applied,
  orders: 0,
  wall: false,
  refusedNow: [],
  grantTwice: false,
  overdrawn: false,
  rejected: [],
});

const applyEntries = async (
  row: ShardRow,
  transaction: ApplyTransaction,
  record: EntriesRecord,
  delivery: LogDelivery,
): Promise<Applied> => {
  const plan = planEntries(row, record);
  if (plan.kind === "foreign") return { kind: "ignored", epoch: row.epoch };
  if (plan.kind === "gap") {
    await transaction.recordGap(row.applied, delivery.streamSeq);
    return { kind: "gap", at: row.applied };
  }
  const { epoch } = row;
  if (plan.kind === "repeat")
    return { ...repeated(epoch, row.applied), wall: row.wall, rejected: row.wall ? await transaction.rejectedOf(epoch) : [] };
  if (plan.applied <= row.applied)
    throw new InvariantViolation(Invariant.position, shardPlace(row.shard), `${plan.applied} after ${row.applied}`);
  const violations = await applySteps(transaction, epoch, plan.steps);
  const wall = row.wall || violations.grantTwice || violations.overdrawn || violations.rejected.length > 0;
  await transaction.advance(plan.applied, wall);
  return {
    kind: "applied",
    entries: plan.entries,
    epoch,
    applied: plan.applied,
    orders: countOrders(plan) - violations.rejected.length,
    wall,
    refusedNow: violations.rejected,
    grantTwice: violations.grantTwice,
    overdrawn: violations.overdrawn,
    rejected: wall ? await transaction.rejectedOf(epoch) : [],
  };
};

const applyMarker = async (row: ShardRow, transaction: ApplyTransaction, marker: MarkerRecord, delivery: LogDelivery): Promise<Applied> => {
  const plan = planMarker(row, marker);
  if (plan.kind === "ignore") return { kind: "ignored", epoch: row.epoch };
  if (plan.kind === "gap") {
    await transaction.recordGap(row.applied, delivery.streamSeq);
    return { kind: "gap", at: row.applied };
  }
  const begun = await transaction.beginEpoch({ from: row.epoch, applied: row.applied, attempt: marker.attempt, mode: plan.mode });
  return begun ? { kind: "began", epoch: marker.begins, mode: plan.mode } : { kind: "ignored", epoch: row.epoch };
};

const note = (known: KnownPositions, shard: number, applied: Applied): void => {
  if (applied.kind === "began" || applied.kind === "ignored") known.saw(shard, applied.epoch, 0);
  else if (applied.kind === "applied" || applied.kind === "repeated") known.saw(shard, applied.epoch, applied.wall ? 0 : applied.applied);
};

const halt = (store: ApplyStore, delivery: LogDelivery, reason: string): Promise<Applied> =>
  store.transaction(delivery.shard, async (_row, transaction) => {
    await transaction.halt(reason);
    return { kind: "halted", reason, first: await transaction.park(delivery, reason) };
  });

/**
 * Applies one record of the log (DESIGN 4.6, 7.1 step 2, 7.2). One transaction; done twice it changes nothing the
 * second time, because the shard's position is committed with the rows.
 * @param known what this process has seen of the shards
 * @throws a fault of the store: whether it was committed is then unknown, and the caller repeats
 */
export const applyRecord = async (store: ApplyStore, delivery: LogDelivery, known?: KnownPositions): Promise<Applied> => {
  const record = decodeLogRecord(delivery.body);
  if (record === undefined || record.shard !== delivery.shard) {
    const reason = record === undefined ? "not a record of the log" : `of shard ${record.shard}`;
    return store.transaction(delivery.shard, async (row, transaction) => {
      await transaction.recordGap(row.applied, delivery.streamSeq);
      return { kind: "unreadable", first: await transaction.park(delivery, reason) };
    });
  }
  const passed = known?.passed(record);
  if (passed !== undefined)
    return passed.kind === "ignored" ? { kind: "ignored", epoch: passed.epoch } : repeated(passed.epoch, passed.applied);
  try {
    const applied = await store.transaction(delivery.shard, (row, transaction) =>
      record.type === "marker" ? applyMarker(row, transaction, record, delivery) : applyEntries(row, transaction, record, delivery),
    );
    if (known !== undefined) note(known, delivery.shard, applied);
    return applied;
  } catch (error) {
    if (!(error instanceof Unappliable)) {
      known?.forget(delivery.shard);
      throw error;
    }
    return halt(store, delivery, error.message);
  }
};
