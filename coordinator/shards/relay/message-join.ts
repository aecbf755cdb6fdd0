import { EntryKind, type Entry } from "#lua/shard/entry";
import { MESSAGE_ORDERS, type EntriesMessage } from "#protocol/message";

/** Orders that an entry puts into its message; a move of units costs the worker about as much as one order. */
export const entryOrders = (entry: Entry): number => (entry.kind === EntryKind.order ? entry.count : 1);

/**
 * How many of the first entries make one message: as many as hold at most MESSAGE_ORDERS orders, but at least one,
 * because an entry is never split. A message's seqs follow each other; where the outbox was trimmed between two reads
 * (what lay between is applied) the next message begins.
 */
export const messageLength = (entries: readonly Entry[]): number => {
  let orders = 0;
  for (const [index, entry] of entries.entries()) {
    const before = entries[index - 1];
    orders += entryOrders(entry);
    if (before !== undefined && (orders > MESSAGE_ORDERS || entry.seq !== before.seq + 1)) return index;
  }
  return entries.length;
};

/** Joins entries of one epoch, in order, into as few messages as that allows. */
export const joinMessages = (shard: number, epoch: number, entries: readonly Entry[]): EntriesMessage[] => {
  const messages: EntriesMessage[] = [];
  for (let rest = entries; rest.length > 0;) {
    const length = messageLength(rest);
    messages.push({ type: "entries", shard, epoch, entries: rest.slice(0, length) });
    rest = rest.slice(length);
  }
  return messages;
};
