import type { Limits } from "../admission/admission.ts";
import type { ReadLimits } from "../admission/read-admission.ts";
import { POLL_MS, WINNER_SLOTS } from "../sales/sold-out.ts";

/** Limits, time-outs, intervals and sizes of the service. */
export interface BuyPolicy {
  /** the token buckets of purchases */
  readonly limits: Limits;
  /** those of reads */
  readonly reads: ReadLimits;
  /** requests that may wait to be sent to a shard, purchases and standings apart; one more is `busy` */
  readonly queueLimit: number;
  /** from a request to its answer */
  readonly decisionTimeoutMs: number;
  /** how often time-outs are looked at; at most so late is one noticed */
  readonly tickMs: number;
  /** how often the sold-out flags are asked for */
  readonly soldOutPollMs: number;
  /** how often winners are read that are wanted; a look that failed (a shard was recovering) is taken again after this */
  readonly winnersLoadMs: number;
  /** slots of all winners' sets together, 4 bytes each */
  readonly winnerSlots: number;
  /** held answers and sockets' purchases that wait for the end of an order; one more is not waited for */
  readonly mostWaiting: number;
}

/** What nobody has to configure. */
export const FIXED_POLICY = {
  tickMs: 25,
  soldOutPollMs: POLL_MS,
  winnersLoadMs: 250,
  winnerSlots: WINNER_SLOTS,
  // some hundred bytes each
  mostWaiting: 100_000,
} as const satisfies Partial<BuyPolicy>;
