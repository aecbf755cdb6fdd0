import { setTimeout as delay } from "node:timers/promises";
import { AGAIN, type StackWorld, type BuyAnswer } from "./stack-world.ts";
import type { Draw } from "./draw.ts";

/** Who comes to a sale. */
export interface Visit {
  readonly saleId: string;
  readonly buyers: number;
  /** units that one buyer may have, 1 or 2: as many purchases each */
  readonly limit: number;
}

/** One purchase of one buyer, and what it was answered. */
export interface Purchase {
  readonly uid: string;
  /** Idempotency-Key; empty where the limit is 1 */
  readonly key: string;
  /** the last definite answer */
  answer: BuyAnswer | undefined;
}

export interface CrowdCounts {
  requests: number;
  /** no answer at all */
  silent: number;
  /** answered "come again" */
  later: number;
  /** purchases that were won */
  won: number;
}

const AT_ONCE = 96;
const ASK_AGAIN_MS = 150;
/** Every so many-th. */
const WINNERS_AGAIN = 10;
const EXPECTED: ReadonlySet<string> = new Set(["reserved", "confirmed", "sold_out", "limit_reached"]);

/** The buyers of one sale: they arrive at a steady pace, ask until they have an answer, and some of them ask twice. */
export class Crowd {
  readonly saleId: string;
  readonly violations: string[] = [];
  readonly #planned: readonly Purchase[];
  readonly #came: Purchase[] = [];
  readonly #world: StackWorld;
  readonly #counts: CrowdCounts;
  readonly #draw: Draw;
  readonly #stop: AbortSignal;
  #held: Promise<void> = Promise.resolve();
  #release: () => void = () => undefined;
  #atWork = 0;
  #isClosed = false;

  constructor(world: StackWorld, visit: Visit, counts: CrowdCounts, draw: Draw, stop: AbortSignal) {
    this.#world = world;
    this.saleId = visit.saleId;
    this.#counts = counts;
    this.#draw = draw;
    this.#stop = stop;
    const keys = visit.limit === 1 ? [""] : ["first", "second"];
    this.#planned = Array.from({ length: visit.buyers }, (_, n) => keys.map((key) => ({ uid: `b${n}`, key, answer: undefined })))
      .flat()
      .slice(0, visit.buyers);
  }

  /** of everybody who has come */
  get purchases(): readonly Purchase[] {
    return this.#came;
  }

  /** buyers who wait for an answer now */
  get waiting(): number {
    return this.#atWork;
  }

  /** Nobody comes any more. */
  enough(): void {
    this.#isClosed = true;
  }

  /** Nobody begins to ask until the returned function is called; resolves when nobody is asking. */
  async hold(): Promise<() => void> {
    this.#held = new Promise((resolve) => {
      this.#release = resolve;
    });
    while (this.#atWork > 0 && !this.#stop.aborted) await delay(20);
    return () => this.#release();
  }

  /** Resolves when everybody has an answer, or on `stop`. */
  async run(perSecond: number): Promise<void> {
    const beganAt = performance.now();
    const comes = (n: number): Promise<void> => {
      const early = beganAt + (n / perSecond) * 1_000 - performance.now();
      return early <= 0 ? Promise.resolve() : delay(early, undefined, { signal: this.#stop }).catch(() => undefined);
    };
    let next = 0;
    const one = async (): Promise<void> => {
      for (;;) {
        const purchase = this.#planned[next];
        if (purchase === undefined) return;
        await comes(next++);
        await this.#held;
        if (this.#isClosed || this.#stop.aborted) return;
        this.#came.push(purchase);
        this.#atWork += 1;
        await this.#buy(purchase);
        this.#atWork -= 1;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }

  /**
   * Whoever got nothing asks once more: after the last unit was added, an answer `sold_out` must be true. Some of the
   * winners ask again, too, and must hear of the same order.
   */
  async secondChance(): Promise<void> {
    const again = this.purchases.filter(({ answer }, n) => answer?.orderId === undefined || n % WINNERS_AGAIN === 0);
    let next = 0;
    const one = async (): Promise<void> => {
      for (let n = next++; n < again.length && !this.#stop.aborted; n = next++) await this.#ask(again[n] as Purchase);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }

  async #buy(purchase: Purchase): Promise<void> {
    const habit = this.#draw.fraction();
    // Double click: both at once; or again after the answer, as whoever reloads the page.
    await Promise.all(habit < 0.1 ? [this.#ask(purchase), this.#ask(purchase)] : [this.#ask(purchase)]);
    if (habit > 0.85 && purchase.answer?.orderId !== undefined) await this.#ask(purchase);
  }

  async #ask(purchase: Purchase): Promise<void> {
    const { uid, key } = purchase;
    const url = this.#world.urlOf(this.saleId, uid);
    while (!this.#stop.aborted) {
      const answer = await this.#world.once("POST", url, key === "" ? {} : { "idempotency-key": key });
      this.#counts.requests += 1;
      if (AGAIN.has(answer.code)) {
        if (answer.code === "away") this.#counts.silent += 1;
        else this.#counts.later += 1;
        await delay(ASK_AGAIN_MS);
        continue;
      }
      this.#take(purchase, answer);
      return;
    }
  }

  #take(purchase: Purchase, answer: BuyAnswer): void {
    const who = `${this.saleId} ${purchase.uid} ${purchase.key}`;
    const before = purchase.answer;
    if (!EXPECTED.has(answer.code)) this.violations.push(`${who} was told ${answer.status} ${answer.code}`);
    if (before?.orderId !== undefined && answer.orderId !== before.orderId)
      this.violations.push(`P3: ${who} was told order ${before.orderId} and then ${answer.orderId ?? answer.code}`);
    if (before?.orderId === undefined && answer.orderId !== undefined) this.#counts.won += 1;
    purchase.answer = answer;
  }
}
