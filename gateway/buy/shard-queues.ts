import { unpackPurchase } from "#lua/stock/fields";
import type { Reserved } from "#lua/stock/reserve";
import type { Standings } from "#lua/stock/standing";
import type { SaleBook } from "../sales/book.ts";
import { Batcher } from "./batcher.ts";
import { DryShard } from "./dry-shard.ts";
import { OutcomeCode, refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import type { BuyPolicy } from "./policy.ts";
import { reserveOperation, standingOperation } from "./purchases.ts";
import type { BuyPorts, PurchaseKey, PurchaseStore } from "./service-ports.ts";

export interface ShardQueuesOptions {
  readonly shard: number;
  readonly store: PurchaseStore;
  readonly book: SaleBook;
  /** called when the shard does not have a sale */
  readonly missing: (saleId: string) => void;
  readonly ports: Pick<BuyPorts, "clock" | "wallClock" | "turn" | "hintDry" | "onPurchases" | "onStandings" | "onRefused" | "onFault">;
  readonly policy: Pick<BuyPolicy, "queueLimit" | "decisionTimeoutMs">;
}

/** All that waits for one shard: purchases and standings to be asked in batches, and purchases that it is too dry for. */
export class ShardQueues {
  readonly purchases: Batcher<string, Reserved>;
  readonly standings: Batcher<PurchaseKey, Standings>;
  readonly #dry: DryShard;
  #refusedBy: string | undefined;

  constructor({ shard, store, book, missing, ports, policy }: ShardQueuesOptions) {
    const { clock, wallClock, turn } = ports;
    const batcher = {
      clock,
      turn,
      queueLimit: policy.queueLimit,
      timeoutMs: policy.decisionTimeoutMs,
      onFault: (error: unknown) => ports.onFault(error, "a shard could not be asked"),
    };
    /** To whom nothing is left: a sale that has ended is over, whoever has its units. */
    const soldOut = (saleId: string): Outcome =>
      book.get(saleId)?.isOver(clock.monotonicMs(), wallClock) === true ? refusals.closed : refusals.soldOut;
    this.#dry = new DryShard({
      clock,
      ask: (saleId, packed, onOutcome) => this.purchases.join(saleId, packed, onOutcome, clock.monotonicMs()),
      end: (saleId) => (book.get(saleId)?.isFlagged(clock.monotonicMs()) === true ? soldOut(saleId) : undefined),
      hint: (saleId, units) => ports.hintDry(shard, { saleId, units }),
    });
    const reserving = reserveOperation({
      shard,
      store,
      shardsOf: (saleId) => book.get(saleId)?.record.shards.length ?? 1,
      hold: (saleId, packed, onOutcome, left) => this.#dry.hold(saleId, packed, onOutcome, left),
      refused: (by) => {
        this.#refusedBy = by;
        if (by !== undefined) ports.onRefused(shard, by);
      },
      lookUp: (saleId, packed, onOutcome) => this.#lookUp(saleId, packed, onOutcome, clock.monotonicMs()),
      soldOut,
      wallNowMs: () => wallClock.nowMs(),
      missing,
    });
    this.purchases = new Batcher(reserving, { ...batcher, onCall: ports.onPurchases });
    this.standings = new Batcher(standingOperation({ shard, store, missing }), { ...batcher, onCall: ports.onStandings });
  }

  /** requests that wait to be sent */
  get queued(): number {
    return this.purchases.queued + this.standings.queued;
  }

  /** purchases that wait for units to be brought here */
  get dryWaiting(): number {
    return this.#dry.count;
  }

  /** the word by which the shard's server refused the last batch of purchases; undefined if that ran */
  get refusedBy(): string | undefined {
    return this.#refusedBy;
  }

  /** nothing waits and nothing is on its way */
  get isIdle(): boolean {
    return this.#dry.count === 0 && this.purchases.isIdle && this.standings.isIdle;
  }

  /** To be called many times a second. */
  tick(nowMs: number): void {
    this.purchases.tick(nowMs);
    this.standings.tick(nowMs);
    this.#dry.tick(nowMs);
  }

  /** This process ends: answers those for whom nothing was taken. What is on its way answers by itself. */
  release(): void {
    this.#dry.release();
  }

  /** The server takes no purchase: who made this one before hears what became of it, everybody else that nothing was taken. */
  #lookUp(saleId: string, packed: string, onOutcome: OnOutcome, nowMs: number): void {
    const { uid, key } = unpackPurchase(packed) ?? { uid: packed, key: "" };
    const answer: OnOutcome = (standing) => onOutcome(standing.code === OutcomeCode.none ? refusals.refused : standing);
    const refusal = this.standings.join(saleId, { uid, key }, answer, nowMs);
    if (refusal !== undefined) onOutcome(refusal);
  }
}
