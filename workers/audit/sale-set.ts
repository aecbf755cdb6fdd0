import type { Reservation } from "#lua/stock/fields";
import { DifferenceKind, type Difference } from "./difference.ts";

/** A purchase's place: shard, epoch, seq and index are the order id. */
export interface Placed {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly index: number;
  readonly units: number;
}

/** Sums over one sale on one shard. */
export interface Tally {
  readonly saleId: string;
  readonly shard: number;
  /** units of live orders up to the cutoff: sold at the instant at which Redis was read */
  soldUnits: number;
  /** units of all live orders in the snapshot */
  liveUnits: number;
  liveOrders: number;
  /** units of entries that Postgres has not applied */
  reservedUnits: number;
  /** units taken out for other shards, of entries that Postgres has not applied */
  withdrawnUnits: number;
  /** rows that Postgres refused */
  rejected: number;
}

/** What is known about a purchase, as bits. */
const FIELD = 1;
const FIELD_REJECTED = 2;
const ORDER = 4;
const ORDER_ELSEWHERE = 8;
const ORDER_LATER = 16;
const PENDING = 32;
const PENDING_ELSEWHERE = 64;
const REJECTED = 128;
const ANY_ORDER = ORDER | ORDER_ELSEWHERE | ORDER_LATER;

/** More findings of a kind than this are counted, not listed. */
const LISTED = 100;

/** The purchases of one sale, as all sides tell of them. Parallel arrays: a million objects would be three times the memory. */
export class SaleSet {
  readonly #saleId: string;
  readonly #indexOf = new Map<string, number>();
  readonly #flags: number[] = [];
  readonly #shards: number[] = [];
  readonly #epochs: number[] = [];
  readonly #seqs: number[] = [];
  readonly #places: number[] = [];
  readonly #units: number[] = [];
  readonly #tallies = new Map<number, Tally>();
  /** Redis's count of a buyer's units and the sum of the buyer's fields: only where the limit is above 1 */
  readonly #buyerUnits = new Map<string, number>();
  readonly #fieldUnits = new Map<string, number>();
  readonly #found = new Map<DifferenceKind, { listed: Difference[]; more: number }>();

  constructor(saleId: string) {
    this.#saleId = saleId;
  }

  /** @param isLater after the cutoff: counts for the buyer's sum only */
  addField(shard: number, field: string, reservation: Reservation, isLater: boolean): void {
    const colon = field.indexOf(":");
    const id = colon < 0 ? `${field}:` : field;
    const isNew = isLater || !this.#indexOf.has(id);
    // HSCAN may give a field twice
    if (!isNew) return;
    if (colon >= 0 && !reservation.rejected) {
      const uid = field.slice(0, colon);
      this.#fieldUnits.set(uid, (this.#fieldUnits.get(uid) ?? 0) + reservation.units);
    }
    if (!isLater) this.#add(id, FIELD | (reservation.rejected ? FIELD_REJECTED : 0), { shard, ...reservation });
  }

  addBuyerUnits(uid: string, units: number): void {
    this.#buyerUnits.set(uid, units);
  }

  addGarbage(shard: number, field: string, value: string): void {
    this.differ(DifferenceKind.reservationWithoutOrder, shard, field, `Redis's field holds ${JSON.stringify(value)}, not a reservation`);
  }

  /** An order that binds its buyer; it holds its units only while it is live. `isLater`: after the cutoff, Redis was read before it was made */
  addOrder(uid: string, key: string, order: Placed, { isLive, isLater }: { readonly isLive: boolean; readonly isLater: boolean }): void {
    const tally = this.#tally(order.shard);
    if (isLive) {
      tally.liveOrders += 1;
      tally.liveUnits += order.units;
      if (!isLater) tally.soldUnits += order.units;
    }
    const id = `${uid}:${key}`;
    const at = this.#indexOf.get(id);
    if (at === undefined) {
      this.#add(id, isLater ? ORDER_LATER : ORDER_ELSEWHERE, order);
      return;
    }
    const flags = this.#flags[at] as number;
    if ((flags & ANY_ORDER) !== 0) this.differ(DifferenceKind.duplicateOrder, order.shard, uid, `another order at ${name(order)}`);
    this.#flags[at] = flags | (this.#isAt(at, order) ? ORDER : isLater ? ORDER_LATER : ORDER_ELSEWHERE);
  }

  /** An order that binds nobody. */
  addRejected(uid: string, key: string, order: Placed): void {
    this.#tally(order.shard).rejected += 1;
    this.differ(DifferenceKind.rejected, order.shard, uid, `Postgres refused ${name(order)}`);
    const at = this.#indexOf.get(`${uid}:${key}`);
    if (at !== undefined && this.#isAt(at, order)) this.#flags[at] = (this.#flags[at] as number) | REJECTED;
  }

  /** A purchase in an entry that Postgres has not applied. */
  addPending(uid: string, key: string, purchase: Placed): void {
    this.#tally(purchase.shard).reservedUnits += purchase.units;
    const id = `${uid}:${key}`;
    const at = this.#indexOf.get(id);
    if (at === undefined) {
      this.#add(id, PENDING_ELSEWHERE, purchase);
      return;
    }
    const flags = this.#flags[at] as number;
    const isAt = this.#isAt(at, purchase);
    if ((flags & ANY_ORDER) !== 0 && !(isAt && (flags & ORDER) !== 0))
      this.differ(DifferenceKind.duplicateOrder, purchase.shard, uid, `has an order and an entry at ${name(purchase)}`);
    else if (isAt && (flags & ORDER) !== 0)
      this.differ(DifferenceKind.beyondApplied, purchase.shard, uid, `${name(purchase)} is an order already`);
    this.#flags[at] = flags | (isAt ? PENDING : PENDING_ELSEWHERE);
  }

  /** Units in a withdrawal that Postgres has not applied. */
  addWithdrawn(shard: number, units: number): void {
    this.#tally(shard).withdrawnUnits += units;
  }

  /** After all sides were added. @param isArchived Redis need not know anything of it, and may have forgotten while it was read */
  finish(limitPerBuyer: number, isArchived: boolean): void {
    const held = new Map<string, number>();
    for (const [id, at] of this.#indexOf) {
      const flags = this.#flags[at] as number;
      const uid = id.slice(0, id.indexOf(":"));
      this.#judge(flags, uid, at, isArchived);
      if (limitPerBuyer > 1 && (flags & (ANY_ORDER | PENDING | PENDING_ELSEWHERE)) !== 0)
        held.set(uid, (held.get(uid) ?? 0) + (this.#units[at] as number));
    }
    for (const [uid, units] of held)
      if (units > limitPerBuyer)
        this.differ(DifferenceKind.limitExceeded, null, uid, `holds ${units} units, the limit is ${limitPerBuyer}`);
    if (limitPerBuyer === 1 || isArchived) return;
    for (const uid of new Set([...this.#buyerUnits.keys(), ...this.#fieldUnits.keys()])) {
      const declared = this.#buyerUnits.get(uid) ?? 0;
      const units = this.#fieldUnits.get(uid) ?? 0;
      if (declared !== units)
        this.differ(DifferenceKind.buyerUnits, null, uid, `Redis counts ${declared} units, the buyer's purchases are ${units}`);
    }
  }

  differ(kind: DifferenceKind, shard: number | null, uid: string | null, detail: string): void {
    let found = this.#found.get(kind);
    if (found === undefined) this.#found.set(kind, (found = { listed: [], more: 0 }));
    if (found.listed.length < LISTED) found.listed.push({ kind, saleId: this.#saleId, shard, uid, count: 1, detail });
    else found.more += 1;
  }

  *differences(): Generator<Difference> {
    for (const [kind, { listed, more }] of this.#found) {
      yield* listed;
      if (more > 0) yield { kind, saleId: this.#saleId, shard: null, uid: null, count: more, detail: `and ${more} more of this kind` };
    }
  }

  tallies(): Iterable<Tally> {
    return this.#tallies.values();
  }

  #judge(flags: number, uid: string, at: number, isArchived: boolean): void {
    const shard = this.#shards[at] as number;
    const here = `${shard}: ${this.#epochs[at]}-${this.#seqs[at]}-${this.#places[at]}`;
    if ((flags & FIELD) === 0) {
      if ((flags & ORDER_ELSEWHERE) !== 0 && isArchived) return;
      if ((flags & ORDER_ELSEWHERE) !== 0)
        this.differ(DifferenceKind.orderWithoutReservation, shard, uid, `Postgres has order ${here}, Redis does not know the buyer`);
      else if ((flags & PENDING_ELSEWHERE) !== 0)
        this.differ(DifferenceKind.orderWithoutReservation, shard, uid, `the outbox has purchase ${here}, Redis does not know the buyer`);
    } else if ((flags & FIELD_REJECTED) !== 0) {
      if ((flags & (ANY_ORDER | PENDING | PENDING_ELSEWHERE)) !== 0)
        this.differ(DifferenceKind.orderDiffers, shard, uid, `Redis calls ${here} rejected, but it is live`);
      else if ((flags & REJECTED) === 0)
        this.differ(DifferenceKind.reservationWithoutOrder, shard, uid, `Redis calls ${here} rejected, Postgres does not know it`);
    } else if ((flags & (ORDER | PENDING | REJECTED)) === 0) {
      if ((flags & (ORDER_ELSEWHERE | ORDER_LATER | PENDING_ELSEWHERE)) !== 0)
        this.differ(DifferenceKind.orderDiffers, shard, uid, `Redis has ${here} (${this.#units[at]} units), the order differs`);
      else this.differ(DifferenceKind.reservationWithoutOrder, shard, uid, `Redis has ${here}, Postgres and the outbox do not`);
    }
  }

  #isAt(at: number, purchase: Placed): boolean {
    return (
      this.#seqs[at] === purchase.seq &&
      this.#places[at] === purchase.index &&
      this.#epochs[at] === purchase.epoch &&
      this.#shards[at] === purchase.shard &&
      this.#units[at] === purchase.units
    );
  }

  #add(id: string, flags: number, purchase: Placed): void {
    this.#indexOf.set(id, this.#flags.length);
    this.#flags.push(flags);
    this.#shards.push(purchase.shard);
    this.#epochs.push(purchase.epoch);
    this.#seqs.push(purchase.seq);
    this.#places.push(purchase.index);
    this.#units.push(purchase.units);
  }

  #tally(shard: number): Tally {
    let tally = this.#tallies.get(shard);
    if (tally === undefined) {
      tally = { saleId: this.#saleId, shard, soldUnits: 0, liveUnits: 0, liveOrders: 0, reservedUnits: 0, withdrawnUnits: 0, rejected: 0 };
      this.#tallies.set(shard, tally);
    }
    return tally;
  }
}

const name = (purchase: Placed): string => `${purchase.shard}: ${purchase.epoch}-${purchase.seq}-${purchase.index}`;
