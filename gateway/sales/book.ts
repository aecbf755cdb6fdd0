import { readSaleRecord } from "#protocol/read-sale";
import type { SaleRecord } from "#protocol/sale";
import { KnownSale } from "./known-sale.ts";

/** Archived sales that a process remembers, some 2 kB each: of one that was forgotten the workers are asked again. */
const MOST_ARCHIVED = 1_000;

/** The sales that this process knows. One that is not archived is forgotten only when it was taken out of the bucket by name. */
export class SaleBook {
  readonly #sales = new Map<string, KnownSale>();
  /** those of them that are archived, the one that was heard of first comes first */
  readonly #archived = new Set<string>();
  #last: KnownSale | undefined;

  get(saleId: string): KnownSale | undefined {
    return this.#sales.get(saleId);
  }

  /**
   * The sale whose id stands in `text` from `from` to before `to`. A crowd asks for one sale: comparing with the last
   * one's id costs a tenth of a look-up, for which the id has to be cut out and hashed each time.
   */
  find(text: string, from: number, to: number): KnownSale | undefined {
    const last = this.#last;
    if (last !== undefined && last.record.id.length === to - from && text.startsWith(last.record.id, from)) return last;
    const sale = this.#sales.get(text.slice(from, to));
    if (sale !== undefined) this.#last = sale;
    return sale;
  }

  all(): IterableIterator<KnownSale> {
    return this.#sales.values();
  }

  /** An older version is what a restored or lagging bucket holds: it changes nothing. */
  put(record: SaleRecord): void {
    const known = this.#sales.get(record.id);
    if (known === undefined) this.#sales.set(record.id, new KnownSale(record));
    else if (record.version >= known.record.version) known.define(record);
    if (this.#sales.get(record.id)?.isArchived === true) this.#noteArchived(record.id);
  }

  remove(saleId: string): void {
    this.#sales.delete(saleId);
    this.#archived.delete(saleId);
    this.#last = undefined;
  }

  #noteArchived(saleId: string): void {
    this.#archived.add(saleId);
    const [first] = this.#archived;
    if (this.#archived.size > MOST_ARCHIVED && first !== undefined) this.remove(first);
  }
}

/**
 * A value of the bucket, as this installation can sell it.
 * @param key what it is stored under
 * @param shards number of shards of this installation
 * @returns what is wrong with it, as a sentence, or the record
 */
export const readSale = (key: string, bytes: Uint8Array, shards: number): SaleRecord | string => {
  const record = readSaleRecord(key, bytes);
  if (typeof record === "string") return record;
  const strange = record.shards.find((shard) => shard >= shards);
  return strange === undefined ? record : `shard ${strange} is not configured here`;
};
