import { isReadable, type ListedSale } from "#protocol/listed-sale";
import type { Clock } from "#protocol/ports";
import { MOST_SALES_ASKED } from "#protocol/requests/sale-commands";
import type { SaleBook } from "./book.ts";

/** What became of a search. */
export const Found = {
  /** it is in the book now */
  found: "found",
  /** there was no such sale after the search was asked for */
  none: "none",
  /** nobody could say, or it is there and its record cannot be read */
  silence: "silence",
} as const;
export type Found = (typeof Found)[keyof typeof Found];

/** Between two questions: a crowd with tickets for a sale that is gone asks this often, not once a buyer. */
const PAUSE_MS = 250;
/** Who comes when this many wait hears `silence` at once. */
const MOST_WAITING = 10_000;

export interface SaleSearchOptions {
  readonly book: SaleBook;
  readonly clock: Clock;
  /** those of these sales that are in Postgres, read after the call; rejects if nobody answers in time */
  readonly findSales: (ids: readonly string[]) => Promise<readonly ListedSale[]>;
  readonly stop: AbortSignal;
}

interface Searcher {
  readonly saleId: string;
  readonly done: (found: Found) => void;
}

/**
 * Looks for a sale that this process does not know, or knows in a state that a Redis contradicts, where the truth is. The bucket reaches the processes of a gateway at
 * different moments (after a restart of NATS seconds apart), so "not in my book" alone must not tell a buyer who won at
 * another process that there is no such sale (P3).
 */
export class SaleSearch {
  readonly #options: SaleSearchOptions;
  #waiting: Searcher[] = [];
  #isAsking = false;

  constructor(options: SaleSearchOptions) {
    this.#options = options;
  }

  /** @param done called once, never in this tick unless too many wait */
  find(saleId: string, done: (found: Found) => void): void {
    if (this.#waiting.length >= MOST_WAITING) {
      done(Found.silence);
      return;
    }
    this.#waiting.push({ saleId, done });
    if (!this.#isAsking) void this.#ask();
  }

  /** A question answers only those who came before it was asked. */
  async #ask(): Promise<void> {
    const { book, clock, findSales, stop } = this.#options;
    this.#isAsking = true;
    while (this.#waiting.length > 0) {
      const { ids, asked } = this.#next();
      const sales = await findSales([...ids]).catch(() => undefined);
      const unreadable = new Set<string>();
      for (const sale of sales ?? []) {
        if (isReadable(sale)) book.put(sale);
        else unreadable.add(sale.id);
      }
      for (const { saleId, done } of asked) {
        if (book.get(saleId) !== undefined) done(Found.found);
        else done(sales === undefined || unreadable.has(saleId) ? Found.silence : Found.none);
      }
      await clock.sleep(PAUSE_MS, stop);
    }
    this.#isAsking = false;
  }

  /** As many as one question holds; the others keep their places. */
  #next(): { readonly ids: ReadonlySet<string>; readonly asked: readonly Searcher[] } {
    const ids = new Set<string>();
    const asked: Searcher[] = [];
    const later: Searcher[] = [];
    for (const searcher of this.#waiting) {
      if (ids.size < MOST_SALES_ASKED) ids.add(searcher.saleId);
      (ids.has(searcher.saleId) ? asked : later).push(searcher);
    }
    this.#waiting = later;
    return { ids, asked };
  }
}
