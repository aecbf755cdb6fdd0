import type { Clock } from "#protocol/ports";
import { RestoreMode, type ShardRow } from "#protocol/row";
import type { RestoreRequest } from "#protocol/requests";
import { SOLD_OUT_BELIEVED_MS } from "#protocol/sale";
import { Status } from "#lua/core/codes";
import { formatReservation, purchaseField } from "#lua/stock/fields";
import { formatPosition } from "#lua/core/position";
import type { StagedSale } from "#lua/shard/swap";
import type { RestoredOrder, RestoredSale, RestoreSnapshot, RestoreSource, RestoreTarget } from "./restore-ports.ts";

export const RestoreEnd = {
  /** the shard's keys are in place, or were put there before by this attempt */
  done: "done",
  /** the row or Redis belongs to another attempt */
  overtaken: "overtaken",
  /** the staged keys are not what was written: another attempt has to begin */
  incomplete: "incomplete",
} as const;
export type RestoreEnd = (typeof RestoreEnd)[keyof typeof RestoreEnd];

/**
 * Called after every chunk with how many orders are staged, and how many units all of them have: the asker's time-out is on
 * progress, not on duration.
 */
export type Progress = (orders: number, ofUnits: number) => void;

/** A page takes about 10 ms and a look one: a restore that nobody wants any more soon leaves its place to one that waits. */
const LOOK_EVERY_MS = 250;

/** Leaves the snapshot from within its pages. */
class Overtaken extends Error {}

/** Called with every page that is staged. @throws Overtaken */
type Staged = (orders: number) => Promise<void>;

const isOf = (row: ShardRow, request: RestoreRequest): boolean =>
  row.epoch === request.epoch && row.attempt === request.attempt && row.mode === RestoreMode.rebuild;

type Field = readonly [string, string];

const fieldOf = (sale: RestoredSale, order: RestoredOrder, rejected: boolean): Field => [
  purchaseField(sale.limit, order.uid, order.key),
  formatReservation({ epoch: order.epoch, seq: order.seq, index: order.index, units: order.units, rejected }),
];

/** Stages the orders that bind, and for a limit above one each buyer's total. Returns how many fields that makes. */
const stageOrders = async (snapshot: RestoreSnapshot, target: RestoreTarget, sale: RestoredSale, staged: Staged): Promise<number> => {
  let count = 0;
  let buyer: { readonly uid: string; units: number } | undefined;
  for await (const page of snapshot.orders(sale.saleId)) {
    const fields = page.map((order) => fieldOf(sale, order, false));
    // Sorted by buyer: a buyer's total is complete when the next one begins, also across pages.
    if (sale.limit > 1) {
      for (const order of page) {
        if (buyer?.uid === order.uid) {
          buyer.units += order.units;
          continue;
        }
        if (buyer !== undefined) fields.push([buyer.uid, String(buyer.units)]);
        buyer = { uid: order.uid, units: order.units };
      }
    }
    await target.stageBuyers(sale.saleId, fields);
    count += fields.length;
    await staged(page.length);
  }
  if (buyer === undefined) return count;
  await target.stageBuyers(sale.saleId, [[buyer.uid, String(buyer.units)]]);
  return count + 1;
};

const stageSale = async (
  snapshot: RestoreSnapshot,
  target: RestoreTarget,
  sale: RestoredSale,
  epoch: number,
  staged: Staged,
): Promise<StagedSale> => {
  let buyers = await stageOrders(snapshot, target, sale, staged);
  for await (const page of snapshot.rejected(sale.saleId)) {
    await target.stageBuyers(
      sale.saleId,
      page.map((order) => fieldOf(sale, order, true)),
    );
    buyers += page.length;
    await staged(0);
  }
  let grants = 0;
  for await (const page of snapshot.grants(sale.saleId)) {
    await target.stageGrants(sale.saleId, page);
    grants += page.length;
    await staged(0);
  }
  const hasStock = grants > 0;
  await target.stageSale(sale, { moves: hasStock ? 1 : 0, movedAt: hasStock ? formatPosition({ epoch, seq: 0 }) : "0-0" });
  // also of a sale without a page: thousands of them are progress, too
  await staged(0);
  return { saleId: sale.saleId, buyers, grants };
};

/**
 * A rebuild can bring units back that Redis had sold and lost. The new epoch withdrew the flags before it was asked for, but
 * a gateway may believe one for a moment longer: until then nobody may find those units (P5).
 */
const waitForFlags = async (clock: Clock, sales: readonly RestoredSale[], startedMs: number): Promise<void> => {
  if (!sales.some((sale) => sale.everSoldOut && sale.left > 0)) return;
  await clock.sleep(Math.max(0, startedMs + SOLD_OUT_BELIEVED_MS - clock.monotonicMs()));
};

/**
 * DESIGN 7.1 step 3, rebuild: writes the shard's keys anew from one snapshot, beside the live ones, and puts them in
 * place by one script, only if the row still is this attempt's; ends early when it finds that it is not. Safe to repeat, also by two at once.
 * @throws faults of either store; nothing is in place then, unless only the last answer was lost
 */
export const restoreShard = async (
  source: RestoreSource,
  target: RestoreTarget,
  clock: Clock,
  request: RestoreRequest,
  progress: Progress,
): Promise<RestoreEnd> => {
  let orders = 0;
  const startedMs = clock.monotonicMs();
  let lookedAtMs = startedMs;
  const checkRow = async (): Promise<void> => {
    if (!isOf(await source.row(request.shard), request)) throw new Overtaken();
    lookedAtMs = clock.monotonicMs();
  };
  const stage = async (snapshot: RestoreSnapshot): Promise<readonly StagedSale[]> => {
    if (!isOf(snapshot.row, request)) throw new Overtaken();
    const staged: StagedSale[] = [];
    const ofUnits = snapshot.sales.reduce((sum, sale) => sum + sale.sold, 0);
    for (const sale of snapshot.sales) {
      staged.push(
        await stageSale(snapshot, target, sale, request.epoch, async (more) => {
          orders += more;
          progress(orders, ofUnits);
          if (clock.monotonicMs() - lookedAtMs >= LOOK_EVERY_MS) await checkRow();
        }),
      );
    }
    await waitForFlags(clock, snapshot.sales, startedMs);
    return staged;
  };
  try {
    const sales = await source.snapshot(request.shard, stage);
    const known = new Set(sales.map((sale) => sale.saleId));
    const dropped = (await target.listSales()).filter((saleId) => !known.has(saleId));
    // The last look before the step that cannot be taken back: a slow restore must not overwrite a later attempt's.
    await checkRow();
    const { status } = await target.swap({ sales, dropped });
    if (status === Status.ok || status === Status.duplicate) return RestoreEnd.done;
    return status === Status.incomplete ? RestoreEnd.incomplete : RestoreEnd.overtaken;
  } catch (error) {
    if (error instanceof Overtaken) return RestoreEnd.overtaken;
    throw error;
  }
};
