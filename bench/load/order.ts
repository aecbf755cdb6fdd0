/**
 * Some buyers pause before they ask again. In a closed loop without pauses the connections come round and round in one and
 * the same order, which a server's caches and prefetchers learn; a crowd has no such order.
 */
export interface Pause {
  /** of the requests */
  readonly share: number;
  /** evenly spread from 1 ms */
  readonly mostMs: number;
}

/** What a generator is to send; it crosses a process boundary, so it is plain data. */
export interface LoadOrder {
  readonly host: string;
  readonly port: number;
  readonly requests: SameRequest | TicketRequests | PathRequests;
  readonly connections: number;
  /** requests on their way on each connection; more than one fits only what is answered in the same tick */
  readonly pipelining: number;
  /** counted from here on: what comes before warms both sides up */
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** open loop: arrivals a second, whatever the answers do; 0 = closed loop, each answer lets the next request go */
  readonly perSecond: number;
  /** answers that ask to come again (Retry-After) are counted apart, as `<status> again`; false if left out */
  readonly countsAgain?: boolean;
  /** closed loop only */
  readonly pause?: Pause | undefined;
}

/** One and the same request again and again. */
interface SameRequest {
  readonly kind: "same";
  readonly text: string;
}

/** Purchases of `count` buyers, `<prefix><number>`; the load ends early when they have all bought. */
export interface TicketRequests {
  readonly kind: "tickets";
  /** as DOORBUSTER_TICKET_KEYS takes them; empty: `POST /buy/<uid>` without a ticket, for programs that know none */
  readonly keys: string;
  readonly saleId: string;
  readonly prefix: string;
  readonly count: number;
  /** purchases of each buyer: all first ones, then all second ones ... told apart by an Idempotency-Key; 1 = without a key */
  readonly each: number;
  /** further header lines, each with CR LF at its end */
  readonly headers: string;
}

/** A POST to each of these paths, once each, in this order. */
export interface PathRequests {
  readonly kind: "paths";
  readonly paths: readonly string[];
}

/** What came of it, of the measured part alone. */
export interface LoadResult {
  /** from the first to the last moment that was counted */
  readonly seconds: number;
  readonly sent: number;
  /** answers by HTTP status, or `<status> again` (`countsAgain`) */
  readonly answered: Readonly<Record<string, number>>;
  /** requests whose connection broke, or that had no answer in time */
  readonly failed: number;
  /** HdrHistogram V2, compressed, base64: microseconds. Open loop: from the intended start */
  readonly latency: string;
  /** answers in each tenth of a second */
  readonly tenths: readonly number[];
}

/** Messages of a generator to the one who loads it. */
export type GeneratorMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "begin" }
  | { readonly kind: "end"; readonly result: LoadResult }
  | { readonly kind: "broken"; readonly why: string };

export const answersOf = (result: Pick<LoadResult, "answered">): number =>
  Object.values(result.answered).reduce((sum, count) => sum + count, 0);
