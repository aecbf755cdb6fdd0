import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

/** What a buyer was answered, over HTTP or a WebSocket. */
export interface HeardAnswer {
  /** 0 for a WebSocket frame */
  readonly status: number;
  /** undefined if the answer was none of ours */
  readonly code: string | undefined;
  readonly orderId?: string | undefined;
}

/** What the buyer does next. */
export const Next = { done: "done", again: "again" } as const;
export type Next = (typeof Next)[keyof typeof Next];

export interface Counts {
  /** sent, answered or not */
  requests: number;
  /** buyers answered that a unit is theirs */
  reserved: number;
  /** further answers of the same order id to the same buyer */
  repeats: number;
  soldOut: number;
  rateLimited: number;
  /** asked to come again: a refusal of ours with Retry-After that is no rate limit */
  comeAgain: number;
  /** any other refusal */
  refused: number;
  /** reservations that went down with the data of their Redis before anybody was answered that they are confirmed */
  lostWithRedis: number;
  /** transport failures, 5xx without a code of ours, and answers that contradict an earlier one */
  errors: number;
}

const WON: ReadonlySet<string> = new Set(["reserved", "confirmed"]);
/** `sale_unknown`: a gateway process that was started this moment may not have heard of the sale. */
const COME_AGAIN: ReadonlySet<string> = new Set([
  "paused",
  "units_moving",
  "not_survived",
  "recovering",
  "busy",
  "try_again",
  "not_open",
  "sale_unknown",
]);
/** Contradictions that are kept to be shown. */
const SHOWN = 20;

/** Everything that the crowd was answered: each answer to each buyer, compared with those before. */
export class Ledger {
  readonly counts: Counts = {
    requests: 0,
    reserved: 0,
    repeats: 0,
    soldOut: 0,
    rateLimited: 0,
    comeAgain: 0,
    refused: 0,
    lostWithRedis: 0,
    errors: 0,
  };
  /** order id of each buyer, by number: the first, unless that one went down with its Redis */
  readonly orderIds: (string | undefined)[];
  /** answers that cannot both be true, readable */
  readonly contradictions: string[] = [];
  /** of answered purchases, in microseconds */
  readonly latency: RecordableHistogram = createHistogram();
  readonly #soldOut: Uint8Array;
  readonly #confirmed: Uint8Array;
  /** when each order id was heard first */
  readonly #heardAtMs: Float64Array;
  #answered = 0;
  readonly #hasAnswer: Uint8Array;
  readonly #emptiedAtMs: (orderId: string) => number | undefined;

  /** @param emptiedAtMs when the Redis of an order id was last started without its data, on performance.now()'s clock */
  constructor(buyers: number, emptiedAtMs: (orderId: string) => number | undefined = () => undefined) {
    this.orderIds = Array.from({ length: buyers });
    this.#soldOut = new Uint8Array(buyers);
    this.#confirmed = new Uint8Array(buyers);
    this.#heardAtMs = new Float64Array(buyers);
    this.#hasAnswer = new Uint8Array(buyers);
    this.#emptiedAtMs = emptiedAtMs;
  }

  /** buyers that have a definite answer */
  get answered(): number {
    return this.#answered;
  }

  failed(): Next {
    this.counts.requests += 1;
    this.counts.errors += 1;
    return Next.again;
  }

  record(buyer: number, answer: HeardAnswer): Next {
    const { counts } = this;
    const { code } = answer;
    counts.requests += 1;
    if (code === undefined) {
      counts.errors += 1;
      return Next.again;
    }
    if (code === "rate_limited") {
      counts.rateLimited += 1;
      return Next.again;
    }
    if (COME_AGAIN.has(code)) {
      counts.comeAgain += 1;
      return Next.again;
    }
    if (this.#hasAnswer[buyer] === 0) {
      this.#hasAnswer[buyer] = 1;
      this.#answered += 1;
    }
    if (WON.has(code)) this.#won(buyer, answer.orderId);
    if (code === "confirmed") this.confirmed(buyer);
    else if (code === "sold_out") this.#lost(buyer);
    else if (!WON.has(code)) counts.refused += 1;
    return Next.done;
  }

  /** The buyer was answered that the order is stored: from here on nothing excuses its loss. */
  confirmed(buyer: number): void {
    this.#confirmed[buyer] = 1;
  }

  /**
   * The buyer hears that there is no such order. That may be where the order was only reserved, and its Redis has lost its
   * data since; then it is forgotten, and the buyer buys as if for the first time.
   */
  wentDown(buyer: number): boolean {
    const orderId = this.orderIds[buyer];
    if (orderId === undefined || this.#confirmed[buyer] === 1) return false;
    const emptiedAtMs = this.#emptiedAtMs(orderId);
    if (emptiedAtMs === undefined || (this.#heardAtMs[buyer] as number) >= emptiedAtMs) return false;
    this.orderIds[buyer] = undefined;
    this.counts.reserved -= 1;
    this.counts.lostWithRedis += 1;
    return true;
  }

  /** A contradiction found by looking at the standing: counts as an error. */
  contradict(text: string): void {
    this.counts.errors += 1;
    if (this.contradictions.length < SHOWN) this.contradictions.push(text);
  }

  #won(buyer: number, orderId: string | undefined): void {
    if (orderId !== undefined && this.orderIds[buyer] !== orderId) this.wentDown(buyer);
    const first = this.orderIds[buyer];
    if (orderId === undefined) this.contradict(`buyer ${buyer}: a win without an order id`);
    else if (first === undefined) {
      this.orderIds[buyer] = orderId;
      this.#heardAtMs[buyer] = performance.now();
      this.counts.reserved += 1;
      if (this.#soldOut[buyer] === 1) this.contradict(`buyer ${buyer}: answered sold_out, then ${orderId}`);
    } else if (first === orderId) this.counts.repeats += 1;
    else this.contradict(`buyer ${buyer}: answered ${first}, then ${orderId}`);
  }

  #lost(buyer: number): void {
    this.counts.soldOut += 1;
    this.#soldOut[buyer] = 1;
    this.wentDown(buyer);
    if (this.orderIds[buyer] !== undefined) this.contradict(`buyer ${buyer}: answered ${this.orderIds[buyer]}, then sold_out`);
  }
}

/** Reads an answer's body; undefined fields where it is none of ours. */
export const readAnswer = (status: number, body: string): HeardAnswer => {
  try {
    const { code, orderId } = JSON.parse(body) as { code?: unknown; orderId?: unknown };
    return {
      status,
      code: typeof code === "string" ? code : undefined,
      orderId: typeof orderId === "string" ? orderId : undefined,
    };
  } catch {
    return { status, code: undefined };
  }
};
