import type { OrderState } from "#protocol/order";
import type { Clock } from "#protocol/ports";
import type { PurchaseOrder } from "#protocol/requests/purchase-orders";
import { MOST_PURCHASES } from "#lua/stock/reserve";
import type { OrderStore, PurchaseKey, Turn } from "./service-ports.ts";

/** How long an answer is believed, from the moment of asking: a change of which this gateway was not told shows after so long. */
const BELIEVED_MS = 1_000;
/** While nobody answers, buyers are not kept waiting to find that out; then it is tried again. */
const SILENT_MS = 1_000;
/** Orders that are believed at most, some hundred bytes each; the oldest make room. */
const MOST_KNOWN = 20_000;
/** Purchases that are asked about, or wait for it, at most. */
const MOST_ASKED = 4 * MOST_PURCHASES;
/** Requests to the workers at a time. */
const MOST_CALLS = 2;

/** What became of an order that is stored. */
export interface OrderView {
  readonly state: OrderState;
  /** ms since 1970: until when it has to be paid; null if nothing is to be paid, or not by a time */
  readonly payByMs: number | null;
}

type OnOrder = (order: OrderView | undefined) => void;

/** One purchase that is asked about, for everybody who wants to know meanwhile. */
interface Question {
  readonly saleId: string;
  readonly purchase: PurchaseKey;
  readonly orderId: string;
  readonly waiting: OnOrder[];
  /** the order changed after the question was sent: the answer may be what it was before */
  isOvertaken: boolean;
}

interface Known {
  readonly order: OrderView;
  readonly untilMs: number;
}

export interface OrderStatesOptions {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly turn: Turn;
  readonly store: OrderStore;
  readonly onFault: (error: unknown) => void;
}

/**
 * The states of orders, which only Postgres has. A purchase is asked about once at a time, together with others of its sale, and
 * the answer is believed for a second, or until a worker says that the order has changed. So a crowd that looks again and again
 * costs the workers one question a second for each order, and nothing where they do not answer: then there is no state to tell.
 */
export class OrderStates {
  readonly #options: OrderStatesOptions;
  /** by order id, the oldest first */
  readonly #known = new Map<string, Known>();
  /** by order id: all that wait or are on their way */
  readonly #questions = new Map<string, Question>();
  /** those that wait to be sent, by sale; the sale whose turn it is comes first */
  readonly #waiting = new Map<string, Question[]>();
  #calls = 0;
  #silentUntilMs = 0;
  #isScheduled = false;

  constructor(options: OrderStatesOptions) {
    this.#options = options;
  }

  /** nobody waits, and nothing is believed */
  get isEmpty(): boolean {
    return this.#known.size === 0 && this.#questions.size === 0;
  }

  /** @param done called once, in this tick if it is known or cannot be asked now; undefined: not known */
  read(saleId: string, purchase: PurchaseKey, orderId: string, done: OnOrder): void {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#known.get(orderId);
    if (known !== undefined && nowMs < known.untilMs) return done(known.order);
    const asked = this.#questions.get(orderId);
    if (asked !== undefined) return void asked.waiting.push(done);
    if (nowMs < this.#silentUntilMs || this.#questions.size >= MOST_ASKED) return done(undefined);
    const question: Question = { saleId, purchase, orderId, waiting: [done], isOvertaken: false };
    this.#questions.set(orderId, question);
    return this.#enqueue(question);
  }

  /** Workers say that these orders have changed. */
  onChanged(orderIds: readonly string[]): void {
    for (const orderId of orderIds) {
      this.#known.delete(orderId);
      const question = this.#questions.get(orderId);
      if (question !== undefined) question.isOvertaken = true;
    }
  }

  /** This process ends: nobody waits any longer. */
  release(): void {
    this.#waiting.clear();
    for (const question of this.#questions.values()) this.#tell(question, undefined);
  }

  #enqueue(question: Question): void {
    const waiting = this.#waiting.get(question.saleId);
    if (waiting === undefined) this.#waiting.set(question.saleId, [question]);
    else waiting.push(question);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.size === 0 || this.#calls >= MOST_CALLS) return;
    this.#isScheduled = true;
    this.#options.turn.atEnd(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    for (const [saleId, waiting] of this.#waiting) {
      if (this.#calls >= MOST_CALLS) return;
      // To the end of the row: the other sales are first now.
      this.#waiting.delete(saleId);
      const questions = waiting.splice(0, MOST_PURCHASES);
      if (waiting.length > 0) this.#waiting.set(saleId, waiting);
      void this.#ask(saleId, questions);
    }
  };

  async #ask(saleId: string, questions: readonly Question[]): Promise<void> {
    const { clock, store, onFault } = this.#options;
    const untilMs = clock.monotonicMs() + BELIEVED_MS;
    this.#calls += 1;
    for (const question of questions) question.isOvertaken = false;
    let orders: readonly (PurchaseOrder | null | undefined)[] | undefined;
    try {
      orders = await store.ofPurchases(
        saleId,
        questions.map(({ purchase }) => purchase),
      );
    } catch (error) {
      onFault(error);
    }
    this.#calls -= 1;
    if (orders === undefined) this.#giveUp(questions);
    else for (const [at, question] of questions.entries()) this.#answer(question, orders[at], untilMs);
    this.#schedule();
  }

  #answer(question: Question, order: PurchaseOrder | null | undefined, untilMs: number): void {
    const { orderId } = question;
    if (!this.#questions.has(orderId)) return;
    if (question.isOvertaken) {
      this.#enqueue(question);
      return;
    }
    // Another order of this purchase, or a state of a later version: nothing that is known of this one.
    if (order?.orderId !== orderId || order.state === undefined) {
      this.#tell(question, undefined);
      return;
    }
    const view = { state: order.state, payByMs: order.payByMs };
    this.#known.delete(orderId);
    if (this.#known.size >= MOST_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    this.#known.set(orderId, { order: view, untilMs });
    this.#tell(question, view);
  }

  /** Nobody answered: whoever waits to be sent would wait as long for as little. */
  #giveUp(questions: readonly Question[]): void {
    this.#silentUntilMs = this.#options.clock.monotonicMs() + SILENT_MS;
    const all = [...questions, ...[...this.#waiting.values()].flat()];
    this.#waiting.clear();
    for (const question of all) this.#tell(question, undefined);
  }

  #tell(question: Question, order: OrderView | undefined): void {
    this.#questions.delete(question.orderId);
    for (const done of question.waiting.splice(0)) done(order);
  }
}
