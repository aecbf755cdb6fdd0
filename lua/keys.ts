/**
 * Every Redis key of Doorbuster is spelled here and nowhere else (DESIGN section 5).
 *
 * All keys of shard N carry the hash tag `{sN}`, so that in Redis Cluster they share a slot and a
 * script may touch all of them.
 */
export interface ShardKeys {
  /** string: copy of the epoch; Postgres has the original */
  readonly epoch: string;
  /** string with expiry: `<epoch> <master_replid>`, permission to sell (the latch) */
  readonly open: string;
  /** string with expiry: the token of the coordinator that looks after the shard */
  readonly lease: string;
  /** string: nonce of the running or last attempt to begin an epoch */
  readonly attempt: string;
  /** stream: entries not yet applied in Postgres, ids `<epoch>-<seq>` */
  readonly outbox: string;
  /** string: `<epoch>-<seq>`, copy of Postgres's position; only ever raised within an epoch */
  readonly applied: string;
  /** set: ids of the sales that have a hash on this shard */
  readonly sales: string;
}

export interface SaleKeys {
  /** hash: version, state, left, limit, opens_at, closes_at, moves, moved_at */
  readonly sale: string;
  /** hash: purchase field -> reservation (see fields.ts) */
  readonly buyers: string;
  /** set: ids of the grants taken in */
  readonly grants: string;
}

export const shardKeys = (shard: number): ShardKeys => {
  const tag = `{s${shard}}`;
  return {
    epoch: `${tag}:epoch`,
    open: `${tag}:open`,
    lease: `${tag}:lease`,
    attempt: `${tag}:attempt`,
    outbox: `${tag}:outbox`,
    applied: `${tag}:applied`,
    sales: `${tag}:sales`,
  };
};

export const saleKeys = (shard: number, saleId: string): SaleKeys => {
  const tag = `{s${shard}}`;
  return {
    sale: `${tag}:sale:${saleId}`,
    buyers: `${tag}:buyers:${saleId}`,
    grants: `${tag}:grants:${saleId}`,
  };
};

/** Where a rebuild stages a sale's keys until `swap` puts them in place; named by the attempt that writes them. */
export const stagedKeys = (shard: number, attempt: string, saleId: string): SaleKeys => {
  const tag = `{s${shard}}:restore:${attempt}`;
  return {
    sale: `${tag}:sale:${saleId}`,
    buyers: `${tag}:buyers:${saleId}`,
    grants: `${tag}:grants:${saleId}`,
  };
};
