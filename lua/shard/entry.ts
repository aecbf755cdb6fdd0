/**
 * One change of a shard's state, as the script that made the change appended it to the outbox.
 * Stream fields: `k` kind, `s` sale, `t` Redis's clock in ms, then by kind:
 * order: `n` number of purchases, `b` the packed purchases joined by a space; granted: `g` grant id, `u` units;
 * withdrawn: `r` shard that receives them, `u` units.
 */
export const EntryKind = { order: "o", granted: "g", withdrawn: "w" } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

export interface OrderEntry {
  readonly kind: "o";
  readonly seq: number;
  readonly saleId: string;
  readonly atMs: number;
  /** number of purchases */
  readonly count: number;
  /** packed purchases (fields.ts) joined by one space; carried unopened until the worker applies them */
  readonly purchases: string;
}

export interface GrantedEntry {
  readonly kind: "g";
  readonly seq: number;
  readonly saleId: string;
  readonly atMs: number;
  readonly grantId: string;
  readonly units: number;
}

/** Units that left this shard's stock for another's: until it is applied they are nowhere else. */
export interface WithdrawnEntry {
  readonly kind: "w";
  readonly seq: number;
  readonly saleId: string;
  readonly atMs: number;
  /** shard that receives the units */
  readonly receiver: number;
  readonly units: number;
}

export type Entry = OrderEntry | GrantedEntry | WithdrawnEntry;
