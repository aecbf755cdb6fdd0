import { EntryKind, type Entry } from "#lua/shard/entry";
import { RECORD_ORDERS, type EntriesRecord } from "#protocol/log-record";

/** Orders that an entry puts into its record; a move of units costs the worker about as much as one order. */
export const entryOrders = (entry: Entry): number => (entry.kind === EntryKind.order ? entry.count : 1);

/**
 * How many of the first entries make one record: as many as hold at most RECORD_ORDERS orders, but at least one,
 * because an entry is never split. A record's seqs follow each other; where the outbox was trimmed between two reads
 * (what lay between is applied) the next record begins.
 */
export const recordLength = (entries: readonly Entry[]): number => {
  let orders = 0;
  for (const [index, entry] of entries.entries()) {
    const before = entries[index - 1];
    orders += entryOrders(entry);
    if (before !== undefined && (orders > RECORD_ORDERS || entry.seq !== before.seq + 1)) return index;
  }
  return entries.length;
};

/** Joins entries of one epoch, in order, into as few records as that allows. */
export const joinRecords = (shard: number, epoch: number, entries: readonly Entry[]): EntriesRecord[] => {
  const records: EntriesRecord[] = [];
  for (let rest = entries; rest.length > 0;) {
    const length = recordLength(rest);
    records.push({ type: "entries", shard, epoch, entries: rest.slice(0, length) });
    rest = rest.slice(length);
  }
  return records;
};
