import type { Outcome } from "../buy/outcome.ts";
import { statusFrame } from "./frames.ts";

/** A push that came while purchases of the socket were undecided. */
interface Held {
  readonly orderId: string | undefined;
  readonly frame: string;
  /** number of the last purchase that it may be about */
  readonly behind: number;
}

/**
 * The order in which one socket hears of a purchase: its outcome, then what became of its order. A worker may say that an
 * order is stored before Redis's answer that made it has been read here. So what is pushed while purchases of this socket
 * are undecided waits until those that it may be about have been answered; an order that the socket was told of is pushed
 * at once. Every purchase is answered in time, so nothing waits longer than that.
 */
export class OutcomeFirst {
  readonly #send: (frame: string) => void;
  /** numbers of the purchases without an answer, lowest first */
  readonly #undecided = new Set<number>();
  /** orders that outcomes have named: no more than the buyer may have */
  readonly #told = new Set<string>();
  #held: Held[] = [];
  #last = 0;

  constructor(send: (frame: string) => void) {
    this.#send = send;
  }

  /** purchases without an answer */
  get undecided(): number {
    return this.#undecided.size;
  }

  /** A purchase goes out. @returns answers it */
  begin(): (outcome: Outcome, frame: string) => void {
    const number = ++this.#last;
    this.#undecided.add(number);
    return ({ orderId }, frame) => {
      this.#undecided.delete(number);
      if (orderId !== undefined) this.#told.add(orderId);
      this.#send(frame);
      if (this.#held.length > 0) this.#release();
    };
  }

  /** What became of an order, wherever it was bought. */
  push(outcome: Outcome): void {
    this.#pass({ orderId: outcome.orderId, frame: statusFrame(outcome), behind: this.#last });
  }

  #pass(push: Held): void {
    const { orderId, frame, behind } = push;
    const [lowest] = this.#undecided;
    if (lowest === undefined || lowest > behind || (orderId !== undefined && this.#told.has(orderId))) this.#send(frame);
    else this.#held.push(push);
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    for (const push of held) this.#pass(push);
  }
}
