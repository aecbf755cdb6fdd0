import type { TransferFacts } from "#protocol/requests";

/** Refused buyers come again after a second (Retry-After); a unit that came for them stays at least so long. */
const HOLD_MS = 1_500;
/** Units that nobody fetched stay twice as long each time they had to go on, so that slow buyers meet them after all. */
const MOST_DOUBLINGS = 2;

/** What of a shard's stock is needed to see whether units that came are still there. */
export interface StayStock {
  readonly left: number;
  /** nothing is on its way out of or into the shard */
  readonly movesApplied: boolean;
}

/**
 * How long units of one sale that came by a transfer stay where they came, before they may go on to others: 1.5 to 6 s.
 * Long enough that those for whom they came find them, short enough that others do not wait for a unit that nobody wants.
 */
export class Stay {
  /** times in a row that units had to go on from where nobody had fetched them */
  #futile = 0;

  get holdMs(): number {
    return HOLD_MS * 2 ** Math.min(this.#futile, MOST_DOUBLINGS);
  }

  /** At each look: if what came last was fetched, its buyers come soon enough. */
  look(facts: TransferFacts, stocks: ReadonlyMap<number, StayStock>): void {
    let last: TransferFacts[number] | undefined;
    for (const fact of facts)
      if (fact.receivedAgoMs !== null && (last === undefined || fact.receivedAgoMs < (last.receivedAgoMs as number))) last = fact;
    const stock = last && stocks.get(last.shard);
    if (last === undefined || !stock?.movesApplied || last.sentUnits > 0) return;
    if (stock.left < last.receivedUnits) this.#futile = 0;
  }

  /** Units are taken out of a shard: if those that came are among them, those who asked for them came too late. */
  goOn(fact: TransferFacts[number] | undefined, stock: StayStock): void {
    if (fact === undefined || fact.receivedAgoMs === null || fact.isDraining) return;
    if (stock.left >= fact.receivedUnits) this.#futile += 1;
  }
}
