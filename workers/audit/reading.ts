import type { ComparisonResult } from "./comparison.ts";
import type { PostgresFacts, ShardInRedis } from "./facts.ts";

/** Everything one round read. */
export interface Reading {
  /** each shard at its cutoff, before Postgres was read */
  readonly before: readonly ShardInRedis[];
  readonly postgres: PostgresFacts;
  readonly compared: ComparisonResult;
  /** each shard again, after Postgres was read */
  readonly after: readonly ShardInRedis[];
}

/** A sale's (or one shard's share of a sale's) units: each unit is in exactly one place at the instant of the cutoff. */
export interface Balance {
  total: number;
  /** left in Redis */
  free: number;
  /** taken in Redis, in an entry that Postgres has not applied */
  reserved: number;
  /** granted by Postgres, not yet taken in by Redis; or taken out of a shard for another, not yet granted by Postgres */
  inFlight: number;
  /** units of live orders */
  sold: number;
  rejected: number;
}

export interface ShardBalance extends Balance {
  readonly saleId: string;
  readonly shard: number;
}
