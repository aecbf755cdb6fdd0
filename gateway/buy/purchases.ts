import { formatOrderId } from "#protocol/order-id";
import { Decision, Status } from "#lua/core/codes";
import type { Reservation } from "#lua/stock/fields";
import type { ReserveAnswer, Reserved } from "#lua/stock/reserve";
import type { Standings } from "#lua/stock/standing";
import type { BatchOperation } from "./batcher.ts";
import { OutcomeCode, RETRY_AFTER_MS, refusals, type OnOutcome, type Outcome } from "./outcome.ts";
import type { PurchaseKey, PurchaseStore } from "./service-ports.ts";

/** Writes order ids; the part that the winners of one entry share is made once. */
class OrderIds {
  readonly #shard: number;
  #epoch = 0;
  #seq = 0;
  #prefix = "";

  constructor(shard: number) {
    this.#shard = shard;
  }

  of({ epoch, seq, index }: Reservation): string {
    if (epoch !== this.#epoch || seq !== this.#seq) {
      this.#epoch = epoch;
      this.#seq = seq;
      this.#prefix = formatOrderId({ shard: this.#shard, epoch, seq, index: 0 }).slice(0, -1);
    }
    return this.#prefix + index.toString(36);
  }
}

const held = (code: OutcomeCode, orderIds: OrderIds, reservation: Reservation | undefined, repeat: boolean): Outcome => {
  if (reservation === undefined) throw new Error(`reserve answered ${code} without a reservation`);
  return { code, orderId: orderIds.of(reservation), units: reservation.units, ...(repeat ? { repeat } : {}) };
};

type Held = typeof Decision.won | typeof Decision.reserved | typeof Decision.confirmed | typeof Decision.rejected;

/** Decisions that say all there is to say. */
const plain: Readonly<Record<Exclude<Decision, Held | typeof Decision.dry | typeof Decision.notOpen>, Outcome>> = {
  [Decision.limitReached]: refusals.limitReached,
  [Decision.closed]: refusals.closed,
  [Decision.paused]: refusals.paused,
  [Decision.busy]: refusals.busy,
  [Decision.unstocked]: refusals.unstocked,
  [Decision.badRequest]: refusals.badRequest,
};

export interface ReserveOptions {
  readonly shard: number;
  readonly store: PurchaseStore;
  /** number of shards that the sale's units are dealt to */
  readonly shardsOf: (saleId: string) => number;
  /** takes over whom a shard of several had too few units for: calls `answer` later */
  readonly hold: (saleId: string, purchase: string, answer: OnOutcome, left: number) => void;
  /** called for each batch with the word by which the server refused it; undefined: it ran */
  readonly refused: (by: string | undefined) => void;
  /** answers with what stands of a purchase, without writing: calls `answer` later */
  readonly lookUp: (saleId: string, purchase: string, answer: OnOutcome) => void;
  /** what is answered where the sale's only shard has nothing left */
  readonly soldOut: (saleId: string) => Outcome;
  /** wall clock, for the Retry-After of `not_open` */
  readonly wallNowMs: () => number;
  /** a Redis does not have the sale: it is very new, or it was archived and this process has not heard of it */
  readonly missing: (saleId: string) => void;
}

/** Purchases to `reserve`; an item is a packed purchase (lua/stock/fields.ts). */
export const reserveOperation = (options: ReserveOptions): BatchOperation<string, Reserved> => {
  const { shard, store, shardsOf, hold, refused, lookUp, soldOut, wallNowMs, missing } = options;
  const orderIds = new OrderIds(shard);

  const outcomeOf = ({ decision, reservation }: ReserveAnswer, dry: Outcome, notOpen: Outcome): Outcome => {
    if (decision === Decision.dry) return dry;
    if (decision === Decision.won) return held(OutcomeCode.reserved, orderIds, reservation, false);
    if (decision === Decision.reserved) return held(OutcomeCode.reserved, orderIds, reservation, true);
    if (decision === Decision.confirmed) return held(OutcomeCode.confirmed, orderIds, reservation, true);
    if (decision === Decision.rejected) return held(OutcomeCode.rejected, orderIds, reservation, true);
    return decision === Decision.notOpen ? notOpen : plain[decision];
  };

  const deliver = (saleId: string, result: Reserved, items: readonly string[], answers: readonly OnOutcome[]): void => {
    refused("by" in result ? result.by : undefined);
    if (result.status === Status.refused) {
      // A full server takes nothing more, and a holder still hears the first answer (P3).
      for (let i = 0; i < answers.length; i++) lookUp(saleId, items[i] as string, answers[i] as OnOutcome);
      return;
    }
    if (result.status !== Status.ok) {
      // A shard without the sale's hash has not heard of it yet, or any more: never sold out, never unlimited (DESIGN 4.3).
      if (result.status === Status.unknown) missing(saleId);
      for (const answer of answers) answer(refusals.recovering);
      return;
    }
    // P5: not "sold out" while this shard has a unit that was too few, nor while another may have one: a shard of several
    // cannot know, and may never have been dealt a unit. Where there is one shard, what it says is the fact: a unit is
    // on sale from the moment at which that Redis takes it in, and none is ever on its way to another.
    const dry = result.left > 0 ? refusals.fewerLeft : soldOut(saleId);
    const isOneOfSeveral = shardsOf(saleId) > 1;
    const notOpen = result.opensAtMs === undefined ? refusals.tryAgain : notOpenUntil(result.opensAtMs, wallNowMs());
    for (let i = 0; i < answers.length; i++) {
      const reserved = result.decisions[i] as ReserveAnswer;
      const answer = answers[i] as OnOutcome;
      if (isOneOfSeveral && (reserved.decision === Decision.dry || reserved.decision === Decision.unstocked))
        hold(saleId, items[i] as string, answer, result.left);
      else answer(outcomeOf(reserved, dry, notOpen));
    }
  };

  return {
    isReady: () => store.isReady(),
    send: (saleId, purchases) => store.reserve(saleId, purchases),
    deliver,
    unanswered: refusals.outcomeUnknown,
    reset: () => store.reset(),
  };
};

/** `not_open` with the time that is left; at least a second, for a gateway whose clock is ahead of Redis's. */
export const notOpenUntil = (opensAtMs: number, wallNowMs: number): Outcome => ({
  code: OutcomeCode.notOpen,
  opensAtMs,
  retryAfterMs: Math.max(RETRY_AFTER_MS, opensAtMs - wallNowMs),
});

/** Look-ups of standings; the answers are `none`, `reserved`, `confirmed`, `rejected` or `recovering`. */
export const standingOperation = ({
  shard,
  store,
  missing,
}: Pick<ReserveOptions, "shard" | "store" | "missing">): BatchOperation<PurchaseKey, Standings> => {
  const orderIds = new OrderIds(shard);
  return {
    isReady: () => store.isReady(),
    send: (saleId, purchases) => store.standing(saleId, purchases),
    deliver: (saleId, result, _items, answers) => {
      if (result.status === Status.unknown) missing(saleId);
      for (let i = 0; i < answers.length; i++) {
        const standing = result.status === Status.ok ? result.standings[i] : undefined;
        const answer = answers[i] as OnOutcome;
        if (standing === undefined) answer(refusals.recovering);
        else if (standing.state === "none") answer(refusals.none);
        else answer(held(standing.state, orderIds, standing.reservation, true));
      }
    },
    unanswered: refusals.tryAgain,
    reset: () => store.reset(),
  };
};
