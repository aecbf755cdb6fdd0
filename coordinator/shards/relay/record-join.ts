import { EntryKind, type Entry } from "#lua/shard/entry";
import { entriesThatFit, RECORD_ORDERS, type EntriesRecord } from "#protocol/log-record";

/** Orders that an entry puts into its record; a move of units costs the worker about as much as one order. */
export const entryOrders = (entry: Entry): number => (entry.kind === EntryKind.order ? entry.count : 1);

/** As many as hold at most RECORD_ORDERS orders, and follow each other. */
const joinable = (entries: readonly Entry[]): number => {
  let orders = 0;
  for (const [index, entry] of entries.entries()) {
    const before = entries[index - 1];
    orders += entryOrders(entry);
    if (before !== undefined && (orders > RECORD_ORDERS || entry.seq !== before.seq + 1)) return index;
  }
  return entries.length;
};

/**
 * How many of the first entries make one record: as many as hold at most RECORD_ORDERS orders and fit into a message of the
 * broker, but at least one, because an entry is never split. A record's seqs follow each other; where the outbox was trimmed
 * between two reads (what lay between is applied) the next record begins.
 */
export const recordLength = (entries: readonly Entry[], payloadBytes: number): number => {
  const length = joinable(entries);
  return Math.min(length, Math.max(1, entriesThatFit(entries.slice(0, length), payloadBytes)));
};

/** Joins entries of one epoch, in order, into as few records as that allows. */
export const joinRecords = (shard: number, epoch: number, entries: readonly Entry[], payloadBytes: number): EntriesRecord[] => {
  const records: EntriesRecord[] = [];
  for (let rest = entries; rest.length > 0;) {
    const length = recordLength(rest, payloadBytes);
    records.push({ type: "entries", shard, epoch, entries: rest.slice(0, length) });
    rest = rest.slice(length);
  }
  return records;
};
