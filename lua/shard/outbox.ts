import type { Redis } from "ioredis";
import { InvariantViolation, Invariant } from "../core/invariant.ts";
import { EntryKind, type Entry } from "./entry.ts";
import { shardKeys } from "../core/keys.ts";
import { formatPosition, parsePosition, type Position } from "../core/position.ts";

export interface ReadOutbox {
  readonly shard: number;
  /** entries behind this position, of this epoch and later ones */
  readonly after: Position;
  /** most entries to read */
  readonly count: number;
  /** waits this long for an entry; needs a connection of its own */
  readonly blockMs?: number;
}

export interface OutboxEntry {
  readonly epoch: number;
  readonly entry: Entry;
}

/** An entry that our scripts never write: somebody else changed the outbox. */
export class CorruptEntry extends InvariantViolation {
  override readonly name = "CorruptEntry";
  readonly id: string;

  constructor(outbox: string, id: string, fields: readonly string[]) {
    super(Invariant.entry, outbox, `${id} is not an entry: ${fields.join(" ").slice(0, 200)}`);
    this.id = id;
  }
}

const COUNT = /^(0|[1-9]\d{0,15})$/;

const readEntry = (outbox: string, id: string, fields: readonly string[]): OutboxEntry => {
  const position = parsePosition(id);
  const named = new Map<string, string>();
  for (let i = 0; i + 1 < fields.length; i += 2) named.set(fields[i] as string, fields[i + 1] as string);
  const text = (name: string): string => {
    const value = named.get(name);
    if (value === undefined || value === "") throw new CorruptEntry(outbox, id, fields);
    return value;
  };
  const number = (name: string): number => {
    const value = text(name);
    if (!COUNT.test(value)) throw new CorruptEntry(outbox, id, fields);
    return Number(value);
  };
  if (position === undefined) throw new CorruptEntry(outbox, id, fields);
  const kind = text("k");
  const common = { seq: position.seq, saleId: text("s"), atMs: number("t") };
  const entryOf = (): Entry => {
    switch (kind) {
      case EntryKind.order:
        return { kind, ...common, count: number("n"), purchases: text("b") };
      case EntryKind.granted:
        return { kind, ...common, grantId: text("g"), units: number("u") };
      case EntryKind.withdrawn:
        return { kind, ...common, receiver: number("r"), units: number("u") };
      default:
        throw new CorruptEntry(outbox, id, fields);
    }
  };
  return { epoch: position.epoch, entry: entryOf() };
};

/** Reads entries in order. @throws CorruptEntry for an entry that is not ours */
export const readOutbox = async (
  redis: Pick<Redis, "xread">,
  { shard, after, count, blockMs }: ReadOutbox,
): Promise<readonly OutboxEntry[]> => {
  const { outbox } = shardKeys(shard);
  const from = formatPosition(after);
  const streams =
    blockMs === undefined
      ? await redis.xread("COUNT", count, "STREAMS", outbox, from)
      : await redis.xread("COUNT", count, "BLOCK", blockMs, "STREAMS", outbox, from);
  return (streams ?? []).flatMap(([, entries]) => entries.map(([id, fields]) => readEntry(outbox, id, fields)));
};

/** Ids of the sales that have a hash on this shard, in no order. */
export const listSales = (redis: Pick<Redis, "smembers">, shard: number): Promise<string[]> => redis.smembers(shardKeys(shard).sales);
