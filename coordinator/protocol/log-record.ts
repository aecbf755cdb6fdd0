import { EntryKind, type Entry } from "#lua/shard/entry";
import { parsePosition } from "#lua/core/position";
import { isId } from "./ids.ts";

/**
 * What the log `orders.<shard>` carries: consecutive entries of one epoch, or the marker that begins an epoch.
 * JSON; an entry is an array `[seq, kind, saleId, atMs, ...]`, so that a thousand orders stay near 20 kB.
 */
export interface EntriesRecord {
  readonly type: "entries";
  readonly shard: number;
  readonly epoch: number;
  /** at least one; their seqs are consecutive */
  readonly entries: readonly Entry[];
}

/** DESIGN 7.1 step 2. The worker decides about it when it comes to it in log order. */
export interface MarkerRecord {
  readonly type: "marker";
  readonly shard: number;
  /** the epoch to begin: `from` + 1 */
  readonly begins: number;
  /** the row's epoch when the attempt asked */
  readonly from: number;
  /** the epoch that Redis had when the attempt closed it; 0 if it had none */
  readonly redisEpoch: number;
  /** last entry id of Redis's outbox at the close; `0-0` if it had none */
  readonly upto: string;
  /** nonce of the attempt */
  readonly attempt: string;
}

export type LogRecord = EntriesRecord | MarkerRecord;

/** "About 1,000 orders a record" (DESIGN 4.5): one applier of such transactions does 78-90 k orders/s. */
export const RECORD_ORDERS = 1_000;

/** Of the numbers, quotes and commas of an entry, and of its array: 16 digits each for seq, time, and count or receiver, and units. */
const ENTRY_FRAME_BYTES = 96;
/** Of a record without entries, and of the header that a publication to a stream carries. */
const RECORD_FRAME_BYTES = 256;

/**
 * The least `max_payload` of a broker that can carry everything that this system sends in one message: an entry is never
 * split, and one of MOST_PURCHASES purchases with a key of 64 characters each has 72 kB, its status event with every
 * purchase refused 120 kB.
 */
export const LEAST_PAYLOAD_BYTES = 128 << 10;

/** At most what an entry adds to a record: all its texts are ASCII (ids.ts, lua/stock/fields.ts). */
const entryBytes = (entry: Entry): number => {
  const text = entry.kind === EntryKind.order ? entry.purchases : entry.kind === EntryKind.granted ? entry.grantId : "";
  return ENTRY_FRAME_BYTES + entry.saleId.length + text.length;
};

/**
 * How many of these consecutive entries fit into one message.
 * @param payloadBytes the broker's `max_payload`
 */
export const entriesThatFit = (entries: readonly Entry[], payloadBytes: number): number => {
  let bytes = RECORD_FRAME_BYTES;
  for (const [index, entry] of entries.entries()) {
    bytes += entryBytes(entry);
    if (bytes > payloadBytes) return index;
  }
  return entries.length;
};

const VERSION = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

const entryToWire = (entry: Entry): unknown[] => {
  const { seq, kind, saleId, atMs } = entry;
  if (kind === EntryKind.order) return [seq, kind, saleId, atMs, entry.count, entry.purchases];
  return [seq, kind, saleId, atMs, kind === EntryKind.granted ? entry.grantId : entry.receiver, entry.units];
};

export const encodeLogRecord = (record: LogRecord): Uint8Array => {
  const wire =
    record.type === "entries"
      ? { v: VERSION, shard: record.shard, epoch: record.epoch, entries: record.entries.map(entryToWire) }
      : {
          v: VERSION,
          shard: record.shard,
          begins: record.begins,
          from: record.from,
          redisEpoch: record.redisEpoch,
          upto: record.upto,
          attempt: record.attempt,
        };
  return encoder.encode(JSON.stringify(wire));
};

const isCount = (value: unknown, least = 0): value is number => Number.isSafeInteger(value) && (value as number) >= least;

const entryFromWire = (wire: unknown): Entry | undefined => {
  if (!Array.isArray(wire) || wire.length < 6) return undefined;
  const [seq, kind, saleId, atMs, fifth, sixth] = wire as unknown[];
  if (!isCount(seq, 1) || !isCount(atMs) || typeof saleId !== "string" || !isId(saleId)) return undefined;
  if (kind === EntryKind.order && isCount(fifth, 1) && typeof sixth === "string")
    return { kind, seq, saleId, atMs, count: fifth, purchases: sixth };
  if (kind === EntryKind.granted && typeof fifth === "string" && isId(fifth) && isCount(sixth, 1))
    return { kind, seq, saleId, atMs, grantId: fifth, units: sixth };
  if (kind === EntryKind.withdrawn && isCount(fifth) && isCount(sixth, 1))
    return { kind, seq, saleId, atMs, receiver: fifth, units: sixth };
  return undefined;
};

const entriesFromWire = (wire: readonly unknown[]): Entry[] | undefined => {
  const entries: Entry[] = [];
  for (const item of wire) {
    const entry = entryFromWire(item);
    const before = entries.at(-1);
    if (entry === undefined || (before !== undefined && entry.seq !== before.seq + 1)) return undefined;
    entries.push(entry);
  }
  return entries.length === 0 ? undefined : entries;
};

const markerFromWire = (wire: Record<string, unknown>): MarkerRecord | undefined => {
  const { shard, begins, from, redisEpoch, upto, attempt } = wire;
  if (!isCount(shard) || !isCount(begins, 1) || !isCount(from) || begins !== from + 1 || !isCount(redisEpoch)) return undefined;
  if (typeof upto !== "string" || parsePosition(upto) === undefined || typeof attempt !== "string" || !isId(attempt)) return undefined;
  return { type: "marker", shard, begins, from, redisEpoch, upto, attempt };
};

/** @returns undefined if the bytes are not a record of ours (DESIGN 7.2: ack, report, append again) */
export const decodeLogRecord = (bytes: Uint8Array): LogRecord | undefined => {
  let wire: unknown;
  try {
    wire = JSON.parse(decoder.decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof wire !== "object" || wire === null) return undefined;
  const fields = wire as Record<string, unknown>;
  if (fields["v"] !== VERSION) return undefined;
  if ("begins" in fields) return markerFromWire(fields);
  const { shard, epoch, entries } = fields;
  if (!isCount(shard) || !isCount(epoch, 1) || !Array.isArray(entries)) return undefined;
  const decoded = entriesFromWire(entries);
  return decoded === undefined ? undefined : { type: "entries", shard, epoch, entries: decoded };
};
