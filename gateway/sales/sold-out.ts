import type { Clock, Random } from "#protocol/ports";
import type { SoldOutFlag } from "#protocol/sale";
import type { Stock } from "#lua/stock/stock";
import type { SaleBook } from "./book.ts";
import type { KnownSale } from "./known-sale.ts";
import { slotsFor, Winners } from "./winners.ts";

/** What the sold-out short cut asks of the outside. */
export interface SoldOutStore {
  /** the flags that stand in Postgres, read after this call; rejects if nobody answers in time */
  flags(): Promise<readonly SoldOutFlag[]>;
  stock(shard: number, saleId: string): Promise<Stock>;
  /** one page of a shard's buyers (HSCAN): the next cursor, "0" at the end, and field names, some perhaps twice */
  buyers(shard: number, saleId: string, cursor: string): Promise<{ readonly cursor: string; readonly fields: readonly string[] }>;
}

/** Well below SOLD_OUT_LEASE_MS, so that the lease outlives two lost answers. */
export const POLL_MS = 150;

/** Slots of all winners' sets of a process: 64 MiB, four to eight million winners. Beyond it Redis is asked. */
export const WINNER_SLOTS = 1 << 24;

const WORD = 0x1_0000_0000;

/**
 * The truthful short cut of DESIGN 8: knows which sales are sold out, for as long as that may be believed, and who holds
 * something of them. Driven from outside: `poll` about every POLL_MS, and `load` beside it.
 */
export class SoldOut {
  readonly #book: SaleBook;
  readonly #store: SoldOutStore;
  readonly #clock: Clock;
  readonly #random: Random;

  readonly #slots: number;

  /** @param slots bound on all winners' sets together */
  constructor(book: SaleBook, store: SoldOutStore, clock: Clock, random: Random, slots = WINNER_SLOTS) {
    this.#book = book;
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#slots = slots;
  }

  /** Asks for the flags once. Silence changes nothing here: the leases run out by themselves. */
  async poll(): Promise<void> {
    const askedAtMs = this.#clock.monotonicMs();
    const flags = new Map((await this.#store.flags()).map((flag) => [flag.saleId, flag.version]));
    for (const sale of this.#book.all()) {
      const version = flags.get(sale.record.id);
      if (version === undefined) sale.unflag();
      else sale.flag(version, askedAtMs);
    }
  }

  /** Reads the winners of every flagged sale whose winners are not known, one sale after the other. */
  async load(): Promise<void> {
    for (const sale of this.#book.all()) {
      const version = sale.wanted(this.#clock.monotonicMs());
      if (version === undefined) continue;
      const winners = await this.#read(sale);
      if (winners !== undefined) sale.loaded(version, winners);
    }
  }

  /**
   * @returns undefined if the shards cannot be believed: a server that was restarted on an older copy lacks holders, so
   * each shard has to be open in one and the same epoch before and after its buyers are read, and their number has to
   * be right where it is known
   */
  async #read(sale: KnownSale): Promise<Winners | undefined> {
    const { id, shards } = sale.record;
    const before: (Stock & { status: "ok" })[] = [];
    for (const shard of shards) {
      const stock = await this.#store.stock(shard, id);
      if (stock.status !== "ok" || stock.left > 0) return undefined;
      before.push(stock);
    }
    const most = before.reduce((sum, stock) => sum + stock.buyers, 0);
    if (this.#slotsInUse(sale) + slotsFor(most) > this.#slots) return undefined;
    const word = (): number => Math.floor(this.#random.fraction() * WORD) >>> 0;
    const winners = new Winners(most, word(), word());
    for (const [i, shard] of shards.entries()) {
      const { epoch, buyers, limit } = before[i] as Stock & { status: "ok" };
      const sizeBefore = winners.size;
      if (!(await this.#readShard(shard, id, winners, most))) return undefined;
      const after = await this.#store.stock(shard, id);
      if (after.status !== "ok" || after.epoch !== epoch || after.buyers !== buyers || after.left > 0) return undefined;
      if (limit === 1 && winners.size - sizeBefore !== buyers) return undefined;
    }
    return winners;
  }

  async #readShard(shard: number, saleId: string, winners: Winners, most: number): Promise<boolean> {
    let cursor = "0";
    do {
      const page = await this.#store.buyers(shard, saleId, cursor);
      for (const field of page.fields) {
        // Where the limit is above one there is `<uid>` and `<uid>:<key>` (lua/stock/fields.ts).
        if (field.includes(":")) continue;
        if (winners.size >= most && !winners.has(field)) return false;
        winners.add(field);
      }
      cursor = page.cursor;
    } while (cursor !== "0");
    return true;
  }

  #slotsInUse(besides: KnownSale): number {
    let slots = 0;
    for (const sale of this.#book.all()) if (sale !== besides) slots += sale.winners?.slots ?? 0;
    return slots;
  }
}
