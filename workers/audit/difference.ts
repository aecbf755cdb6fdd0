/** What the auditor can find wrong, by the promise of DESIGN section 1 that it breaks. */
export const DifferenceKind = {
  /** P4: total is not free + reserved + in flight + sold */
  units: "units",
  /** P2: live orders above the total, sold above the quota, or the quota above the total */
  oversold: "oversold",
  /** `sale_shards.sold` is not the units of the live orders */
  soldCounter: "sold_counter",
  /** quotas and grants on their way do not make the total, or a quota is not the sum of its grants that arrived */
  quota: "quota",
  /** P1: a buyer was answered `reserved`, and neither the outbox nor Postgres has the purchase */
  reservationWithoutOrder: "reservation_without_order",
  /** P3: Postgres or the outbox has a purchase that Redis does not know, so its repeat would win again */
  orderWithoutReservation: "order_without_reservation",
  /** both sides have the purchase, but at another position or with other units */
  orderDiffers: "order_differs",
  /** P3: a purchase has two orders that bind its buyer */
  duplicateOrder: "duplicate_order",
  /** two orders with the same order id */
  duplicatePosition: "duplicate_position",
  /** P3: a buyer holds more units than the sale allows */
  limitExceeded: "limit_exceeded",
  /** Redis's count of a buyer's units is not the sum of the buyer's purchases */
  buyerUnits: "buyer_units",
  /** Postgres has an order after the position that it says is applied */
  beyondApplied: "beyond_applied",
  /** the outbox lacks entries that Postgres has not applied: nobody can apply them any more */
  missingEntries: "missing_entries",
  /** P1: what was sold stays in the outbox, and is not applied: nobody of it gets a final answer */
  outboxStuck: "outbox_stuck",
  /** Redis has more settled than Postgres has applied */
  appliedAhead: "applied_ahead",
  /** Postgres has applied entries that Redis has not: Redis lost its tail and goes on */
  redisBehind: "redis_behind",
  /** a grant that is done in Postgres is unknown to Redis: it would be taken in twice */
  grantLost: "grant_lost",
  /** Redis took in a grant that Postgres does not know */
  grantUnknown: "grant_unknown",
  /** a constraint was violated: Postgres refused what Redis had promised */
  rejected: "rejected",
  /** P4: an order is closed, and no grant gives its units back */
  returnMissing: "return_missing",
  /** P2: a grant gives units back that no closed order had: they would be sold twice */
  returnUnfounded: "return_unfounded",
  /** an order is paid and no payment is kept for it, or a payment is kept for an order that is not paid */
  paymentDiffers: "payment_differs",
  /** a record that our programs do not write; what is said of the rest is said without it */
  unreadable: "unreadable",
  /** P5: the sale is flagged sold out while a shard has a unit, or one is on its way */
  falseSoldOut: "false_sold_out",
  /** P3: a sale was archived while an order was pending or a grant undone: Redis and Postgres might differ */
  archivedEarly: "archived_early",
  /** an archived sale is in a Redis that was told so */
  archivedInRedis: "archived_in_redis",
  /** Redis has a sale that Postgres does not know */
  unknownSale: "unknown_sale",
  /** the shard stayed in recovery, or changed its epoch, in every round: nothing can be said about it */
  unsettled: "unsettled",
} as const;
export type DifferenceKind = (typeof DifferenceKind)[keyof typeof DifferenceKind];

export interface Difference {
  readonly kind: DifferenceKind;
  /** null where the whole shard is meant */
  readonly saleId: string | null;
  /** null where the whole sale is meant */
  readonly shard: number | null;
  /** the buyer, where one is meant */
  readonly uid: string | null;
  /** how many findings this line stands for: more than 1 only where a list was cut short */
  readonly count: number;
  /** readable: what was expected and what was found */
  readonly detail: string;
}

/** The same thing in two rounds: the numbers in its detail may have moved on. */
export const differenceKey = (difference: Difference): string =>
  `${difference.kind}|${difference.saleId ?? ""}|${difference.shard ?? ""}|${difference.uid ?? ""}|${difference.count > 1 ? "more" : ""}`;
