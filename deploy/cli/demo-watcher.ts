import { setTimeout as delay } from "node:timers/promises";
import { glance, type AuditStores } from "../../workers/index.ts";
import type { Crowd } from "./crowd.ts";
import type { Screen } from "./demo-screen.ts";

/** How often the stores are looked at. */
export const GLANCE_MS = 250;

/** Keeps the screen up to date, and knows when Postgres had which number of orders. */
export class Watcher {
  sold = 0;
  /** when `sold` was seen to change last */
  soldAt = 0;
  #left: number | undefined;
  #answers = 0;
  #answersAt = 0;
  readonly #saleIds: readonly string[];
  readonly #screen: Screen;
  readonly #crowd: Crowd;
  readonly #stores: AuditStores;
  readonly #ended = new AbortController();
  #looking: Promise<void> | undefined;

  constructor(saleIds: readonly string[], screen: Screen, crowd: Crowd, stores: AuditStores) {
    this.#saleIds = saleIds;
    this.#screen = screen;
    this.#crowd = crowd;
    this.#stores = stores;
  }

  start(): void {
    this.#answersAt = performance.now();
    this.#looking = this.#look();
  }

  async end(): Promise<void> {
    this.#ended.abort();
    await this.#looking;
  }

  async #look(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const seen = await glance(this.#stores, this.#saleIds).catch(() => undefined);
      const now = performance.now();
      this.#left = seen?.left;
      if (seen !== undefined && seen.sold !== this.sold) {
        this.sold = seen.sold;
        this.soldAt = now;
      }
      this.#show(now);
      await delay(GLANCE_MS, undefined, { signal: this.#ended.signal }).catch(() => undefined);
    }
  }

  #show(now: number): void {
    const { ledger } = this.#crowd;
    const answers = ledger.counts.requests - ledger.counts.errors;
    this.#screen.show({
      answered: ledger.answered,
      reserved: ledger.counts.reserved,
      confirmed: this.sold,
      decisionsPerSecond: Math.round(((answers - this.#answers) * 1_000) / Math.max(1, now - this.#answersAt)),
      left: this.#left,
    });
    this.#answers = answers;
    this.#answersAt = now;
  }
}
