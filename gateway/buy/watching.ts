import { formatOrderId } from "#protocol/order-id";
import type { StatusEvent } from "#protocol/status";
import { unpackPurchase } from "#lua/stock/fields";

import { OutcomeCode, type OnOutcome, type Outcome } from "./outcome.ts";

interface Watched {
  readonly pushes: Set<OnOutcome>;
  /** what was pushed last: an event that is sent again, or made up for, is not pushed twice */
  last: string;
}

/** Who wants to hear of a buyer's orders in a sale: open sockets. */
export class Watching {
  readonly #sales = new Map<string, Map<string, Watched>>();

  /** @returns ends the watch; may be called twice */
  add(saleId: string, uid: string, push: OnOutcome): () => void {
    let buyers = this.#sales.get(saleId);
    if (buyers === undefined) this.#sales.set(saleId, (buyers = new Map()));
    let watched = buyers.get(uid);
    if (watched === undefined) buyers.set(uid, (watched = { pushes: new Set(), last: "" }));
    // A function of its own, so that one push given twice is two watches.
    const own: OnOutcome = (outcome) => push(outcome);
    watched.pushes.add(own);
    return () => this.#remove(saleId, uid, own);
  }

  isWatched(saleId: string, uid: string): boolean {
    return this.#sales.size > 0 && this.#sales.get(saleId)?.has(uid) === true;
  }

  get isEmpty(): boolean {
    return this.#sales.size === 0;
  }

  push(saleId: string, uid: string, outcome: Outcome): void {
    const watched = this.#sales.get(saleId)?.get(uid);
    if (watched === undefined) return;
    const news = `${outcome.code} ${outcome.orderId}`;
    if (news === watched.last) return;
    watched.last = news;
    for (const push of watched.pushes) push(outcome);
  }

  onStatus(event: StatusEvent): void {
    if (this.isEmpty) return;
    const refused = new Map(event.rejected);
    for (const [seq, saleId, packed] of event.orders) {
      const buyers = this.#sales.get(saleId);
      if (buyers === undefined) continue;
      packed.split(" ").forEach((purchase, index) => {
        const colon = purchase.indexOf(":");
        const uid = colon < 0 ? purchase : purchase.slice(0, colon);
        if (!buyers.has(uid)) return;
        const orderId = formatOrderId({ shard: event.shard, epoch: event.epoch, seq, index });
        const units = unpackPurchase(purchase)?.units ?? 1;
        const reason = refused.get(orderId);
        this.push(
          saleId,
          uid,
          reason === undefined ? { code: OutcomeCode.confirmed, orderId, units } : { code: OutcomeCode.rejected, orderId, units, reason },
        );
      });
    }
  }

  #remove(saleId: string, uid: string, push: OnOutcome): void {
    const buyers = this.#sales.get(saleId);
    const watched = buyers?.get(uid);
    if (buyers === undefined || watched === undefined || !watched.pushes.delete(push) || watched.pushes.size > 0) return;
    buyers.delete(uid);
    if (buyers.size === 0) this.#sales.delete(saleId);
  }
}
