import { parseOrderId, type OrderId } from "#protocol/order-id";
import type { StatusEvent } from "#protocol/status";
import { unpackPurchase } from "#lua/stock/fields";

import { OutcomeCode, refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import type { PurchaseKey } from "./service-ports.ts";

/** A status event may be lost: who waits is looked up in Redis about this often. */
export const ASK_AGAIN_MS = 1_000;

export interface WaitingPurchase extends PurchaseKey {
  readonly saleId: string;
}

/** Looks a purchase up in its shard's Redis; refusals such as `recovering` mean "not now". */
export type AskStanding = (shard: number, purchase: WaitingPurchase, answer: OnOutcome) => void;

interface Waiter {
  readonly purchase: WaitingPurchase;
  order: OrderId;
  orderId: string;
  /** undefined when it was answered or cancelled */
  done: OnOutcome | undefined;
  isAsked: boolean;
  askAtMs: number;
  /** Postgres is known to be beyond its order, but Redis, not settled yet, still said `reserved`: asked once more soon */
  isHurried: boolean;
}

/** The waiters of one shard for one epoch, by the seq of their entry, mostly in rising order. */
type BySeq = Map<number, Waiter[]>;

/**
 * Who waits for an order to be final. A status event answers the waiters of the entries it lists. Whoever is at or
 * below its position without being listed (an event was lost), and everybody of an older epoch, is looked up in Redis at
 * once, as is everybody about once a second: an event says how an order ended only if it names it, because a refusal by
 * Postgres that was in a lost event must not be answered as a confirmation (P1).
 *
 * An event may come before the answer of Redis that made the order, and so before its waiter. So the positions that were
 * heard are remembered, and whoever comes with an order at or below one is looked up at once, too; who will come is
 * announced by `expect`, because events are read only while somebody is there for them.
 */
export class Waiting {
  readonly #ask: AskStanding;
  readonly #limit: number;
  readonly #shards = new Map<number, Map<number, BySeq>>();
  /** in the order of askAtMs, because each comes back after the same time */
  #asking: Waiter[] = [];
  #nextAsking: Waiter[] = [];
  #count = 0;
  #expected = 0;
  /** by shard: how far Postgres is for certain */
  readonly #applied = new Map<number, Pick<StatusEvent, "epoch" | "applied">>();
  /** waiters that are asked about with the next tick */
  #hurried: Waiter[] = [];

  /**
   * @param limit most waiters, those counted that ended less than ASK_AGAIN_MS ago; one more is answered `reserved` at once
   */
  constructor(ask: AskStanding, limit: number) {
    this.#ask = ask;
    this.#limit = limit;
  }

  get count(): number {
    return this.#count;
  }

  /** somebody waits, or will */
  get isListening(): boolean {
    return this.#count > 0 || this.#expected > 0;
  }

  /** A purchase goes to Redis that will be waited for if it is reserved. @returns ends that, after `add`; once */
  expect(): () => void {
    this.#expected += 1;
    return () => {
      this.#expected -= 1;
    };
  }

  /** @returns cancels; may be called late and twice */
  add(purchase: WaitingPurchase, orderId: string, done: OnOutcome, nowMs: number): () => void {
    const order = parseOrderId(orderId);
    if (order === undefined || this.#asking.length + this.#nextAsking.length >= this.#limit) {
      done({ code: OutcomeCode.reserved, orderId });
      return () => undefined;
    }
    const waiter: Waiter = { purchase, order, orderId, done, isAsked: false, askAtMs: nowMs + ASK_AGAIN_MS, isHurried: false };
    this.#count += 1;
    this.#enter(waiter);
    this.#nextAsking.push(waiter);
    if (this.#isApplied(order)) this.#askAll([waiter]);
    return () => this.#finish(waiter, undefined);
  }

  onStatus(event: StatusEvent): void {
    const known = this.#applied.get(event.shard);
    if (known === undefined || known.epoch < event.epoch || (known.epoch === event.epoch && known.applied < event.applied))
      this.#applied.set(event.shard, { epoch: event.epoch, applied: event.applied });
    const epochs = this.#shards.get(event.shard);
    if (epochs === undefined) return;
    for (const [epoch, bySeq] of epochs) {
      if (epoch < event.epoch) for (const waiters of bySeq.values()) this.#askAll(waiters);
    }
    const bySeq = epochs.get(event.epoch);
    if (bySeq === undefined) return;
    for (const [seq, saleId, packed] of event.orders) {
      const waiters = bySeq.get(seq);
      if (waiters !== undefined) this.#tellEntry(waiters, event, saleId, packed.split(" "));
    }
    for (const [seq, waiters] of bySeq) {
      if (seq > event.applied) break;
      this.#askAll(waiters);
    }
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    const hurried = this.#hurried;
    this.#hurried = [];
    this.#askAll(hurried);
    if (this.#asking.length === 0) {
      this.#asking = this.#nextAsking.toReversed();
      this.#nextAsking = [];
    }
    for (let waiter = this.#asking.at(-1); waiter !== undefined && waiter.askAtMs <= nowMs; waiter = this.#asking.at(-1)) {
      this.#asking.pop();
      if (waiter.done === undefined) continue;
      waiter.askAtMs = nowMs + ASK_AGAIN_MS;
      this.#nextAsking.push(waiter);
      this.#askAll([waiter]);
    }
  }

  /** Tells everybody `reserved`: this process ends, and GET knows the rest. */
  release(): void {
    for (const waiter of [...this.#asking, ...this.#nextAsking])
      this.#finish(waiter, { code: OutcomeCode.reserved, orderId: waiter.orderId });
    this.#asking = [];
    this.#nextAsking = [];
  }

  #tellEntry(waiters: readonly Waiter[], event: StatusEvent, saleId: string, purchases: readonly string[]): void {
    for (const waiter of waiters.slice()) {
      const bought = unpackPurchase(purchases[waiter.order.index] ?? "");
      // Not what this waiter was answered is at this place: only Redis can say what became of it.
      if (bought === undefined || saleId !== waiter.purchase.saleId || bought.uid !== waiter.purchase.uid) continue;
      const refused = event.rejected.find(([orderId]) => orderId === waiter.orderId);
      const { orderId } = waiter;
      const { units } = bought;
      this.#finish(
        waiter,
        refused === undefined
          ? { code: OutcomeCode.confirmed, orderId, units }
          : { code: OutcomeCode.rejected, orderId, units, reason: refused[1] },
      );
    }
  }

  #askAll(waiters: readonly Waiter[]): void {
    for (const waiter of waiters.slice()) {
      if (waiter.isAsked || waiter.done === undefined) continue;
      waiter.isAsked = true;
      this.#ask(waiter.order.shard, waiter.purchase, (standing) => {
        waiter.isAsked = false;
        this.#onStanding(waiter, standing);
      });
    }
  }

  #onStanding(waiter: Waiter, standing: Outcome): void {
    if (waiter.done === undefined) return;
    const { code, orderId, units } = standing;
    if (code === OutcomeCode.none) this.#finish(waiter, refusals.notSurvived);
    if (orderId === undefined) return;
    if (code === OutcomeCode.confirmed || code === OutcomeCode.rejected)
      this.#finish(waiter, { code, orderId, ...(units === undefined ? {} : { units }) });
    else this.#stillReserved(waiter, orderId);
  }

  #stillReserved(waiter: Waiter, orderId: string): void {
    if (orderId !== waiter.orderId) this.#move(waiter, orderId);
    if (waiter.isHurried || !this.#isApplied(waiter.order)) return;
    waiter.isHurried = true;
    this.#hurried.push(waiter);
  }

  #isApplied({ shard, epoch, seq }: OrderId): boolean {
    const known = this.#applied.get(shard);
    return known !== undefined && (epoch < known.epoch || (epoch === known.epoch && seq <= known.applied));
  }

  /** The reservation was lost with its server and the buyer has bought again since. */
  #move(waiter: Waiter, orderId: string): void {
    const order = parseOrderId(orderId);
    if (order === undefined) return;
    this.#leave(waiter);
    waiter.order = order;
    waiter.orderId = orderId;
    this.#enter(waiter);
  }

  #finish(waiter: Waiter, outcome: Outcome | undefined): void {
    const { done } = waiter;
    if (done === undefined) return;
    waiter.done = undefined;
    this.#count -= 1;
    this.#leave(waiter);
    if (outcome !== undefined) done(outcome);
  }

  #enter(waiter: Waiter): void {
    const { shard, epoch, seq } = waiter.order;
    let epochs = this.#shards.get(shard);
    if (epochs === undefined) this.#shards.set(shard, (epochs = new Map()));
    let bySeq = epochs.get(epoch);
    if (bySeq === undefined) epochs.set(epoch, (bySeq = new Map()));
    const waiters = bySeq.get(seq);
    if (waiters === undefined) bySeq.set(seq, [waiter]);
    else waiters.push(waiter);
  }

  #leave(waiter: Waiter): void {
    const { shard, epoch, seq } = waiter.order;
    const epochs = this.#shards.get(shard);
    const bySeq = epochs?.get(epoch);
    const waiters = bySeq?.get(seq);
    if (epochs === undefined || bySeq === undefined || waiters === undefined) return;
    const at = waiters.indexOf(waiter);
    if (at >= 0) waiters.splice(at, 1);
    if (waiters.length > 0) return;
    bySeq.delete(seq);
    if (bySeq.size > 0) return;
    epochs.delete(epoch);
    if (epochs.size === 0) this.#shards.delete(shard);
  }
}
