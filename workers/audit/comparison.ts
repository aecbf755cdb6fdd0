import { parseReservation, unpackPurchase } from "#lua/stock/fields";
import { LIVE_STATES, parseOrderLine, REJECTED } from "./order-line.ts";
import type { HeldEntry } from "./redis-facts.ts";
import { DifferenceKind, type Difference } from "./difference.ts";
import { SaleSet, type Tally } from "./sale-set.ts";

/** A shard's position at which its small facts and units left were read: later purchases are not compared. */
export interface Cutoff {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface ComparisonResult {
  readonly tallies: readonly Tally[];
  readonly differences: readonly Difference[];
}

/** What Postgres said when the orders were read. */
export interface Settled {
  readonly shards: readonly { readonly shard: number; readonly epoch: number; readonly applied: number }[];
  readonly sales: readonly { readonly id: string; readonly limitPerBuyer: number; readonly isArchived: boolean }[];
}

/**
 * Compares Redis's buyers, the outbox and Postgres's orders one to one. Feed all fields first, then entries and orders
 * in any order and size of chunk, then `finish` once. About 150 bytes a purchase; plain computing, no I/O.
 *
 * Why it is exact while a sale runs: all fields of purchases up to a shard's cutoff existed before the scan began; an
 * entry leaves the outbox only after Postgres has it; and Postgres is read after the outbox. So every purchase up to
 * the cutoff is a field, and is an entry after `applied` or else an order, whatever happens in between.
 */
export class Comparison {
  readonly #cutoffs: ReadonlyMap<number, Cutoff>;
  readonly #sets = new Map<string, SaleSet>();
  readonly #entries: (HeldEntry & { readonly shard: number })[] = [];
  /** order ids seen, per shard and epoch, as seq * 4096 + index: an entry holds at most 512 purchases */
  readonly #positions = new Map<string, Set<number>>();

  constructor(cutoffs: readonly Cutoff[]) {
    this.#cutoffs = new Map(cutoffs.map((cutoff) => [cutoff.shard, cutoff]));
  }

  /** @param page field, value, field, value of one buyers' hash */
  addFields(shard: number, saleId: string, page: readonly string[]): void {
    const set = this.#set(saleId);
    for (let at = 0; at + 1 < page.length; at += 2) {
      const field = page[at] as string;
      const value = page[at + 1] as string;
      const reservation = parseReservation(value);
      if (reservation !== undefined) set.addField(shard, field, reservation, this.#isLater(shard, reservation.epoch, reservation.seq));
      else if (!field.includes(":") && /^\d+$/.test(value)) set.addBuyerUnits(field, Number(value));
      else set.addGarbage(shard, field, value);
    }
  }

  addEntries(shard: number, entries: readonly HeldEntry[]): void {
    for (const entry of entries) this.#entries.push({ ...entry, shard });
  }

  /** @param lines see ORDER_LINE in order-line.ts */
  addOrders(lines: readonly string[]): void {
    for (const line of lines) {
      const order = parseOrderLine(line);
      const { uid, key } = order;
      const set = this.#set(order.saleId);
      if (order.state === REJECTED) {
        set.addRejected(uid, key, order);
        continue;
      }
      if (this.#isTwice(order.shard, order.epoch, order.seq, order.index))
        set.differ(DifferenceKind.duplicatePosition, order.shard, uid, `another order has ${order.epoch}-${order.seq}-${order.index} too`);
      set.addOrder(uid, key, order, { isLive: LIVE_STATES.has(order.state), isLater: this.#isLater(order.shard, order.epoch, order.seq) });
    }
  }

  finish(settled: Settled): ComparisonResult {
    const applied = new Map(settled.shards.map((row) => [row.shard, row]));
    const differences: Difference[] = [];
    const pending = new Map<number, Set<number>>();
    for (const entry of this.#entries) {
      const row = applied.get(entry.shard);
      if (row === undefined || entry.epoch !== row.epoch || entry.seq <= row.applied) continue;
      pending.set(entry.shard, (pending.get(entry.shard) ?? new Set()).add(entry.seq));
      if (entry.withdrawnUnits > 0) this.#set(entry.saleId).addWithdrawn(entry.shard, entry.withdrawnUnits);
      for (const [index, text] of entry.purchases === "" ? [] : entry.purchases.split(" ").entries()) {
        const purchase = unpackPurchase(text);
        const set = this.#set(entry.saleId);
        if (purchase === undefined)
          set.differ(DifferenceKind.missingEntries, entry.shard, null, `entry ${entry.epoch}-${entry.seq} cannot be read`);
        else set.addPending(purchase.uid, purchase.key, { ...entry, index, units: purchase.units });
      }
    }
    for (const cutoff of this.#cutoffs.values()) {
      const row = applied.get(cutoff.shard);
      const expected = row?.epoch === cutoff.epoch ? Math.max(0, cutoff.seq - row.applied) : 0;
      const found = pending.get(cutoff.shard)?.size ?? 0;
      if (found < expected)
        differences.push({
          kind: DifferenceKind.missingEntries,
          saleId: null,
          shard: cutoff.shard,
          uid: null,
          count: 1,
          detail: `${expected} entries up to ${cutoff.epoch}-${cutoff.seq} are not applied, the outbox holds ${found} of them`,
        });
    }
    const sales = new Map(settled.sales.map((sale) => [sale.id, sale]));
    const tallies: Tally[] = [];
    for (const [saleId, set] of this.#sets) {
      const { limitPerBuyer = 1, isArchived = false } = sales.get(saleId) ?? {};
      set.finish(limitPerBuyer, isArchived);
      differences.push(...set.differences());
      tallies.push(...set.tallies());
    }
    return { tallies, differences };
  }

  #set(saleId: string): SaleSet {
    let set = this.#sets.get(saleId);
    if (set === undefined) this.#sets.set(saleId, (set = new SaleSet(saleId)));
    return set;
  }

  #isLater(shard: number, epoch: number, seq: number): boolean {
    const cutoff = this.#cutoffs.get(shard);
    return cutoff !== undefined && (epoch > cutoff.epoch || (epoch === cutoff.epoch && seq > cutoff.seq));
  }

  #isTwice(shard: number, epoch: number, seq: number, index: number): boolean {
    const key = `${shard}-${epoch}`;
    let seen = this.#positions.get(key);
    if (seen === undefined) this.#positions.set(key, (seen = new Set()));
    const before = seen.size;
    seen.add(seq * 4_096 + index);
    return seen.size === before;
  }
}
