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
  /** string: `<master_replid> <1 or 0>`, the server that this attempt closed, and whether replicas may have its keys */
  readonly server: string;
  /** stream: entries not yet applied in Postgres, ids `<epoch>-<seq>` */
  readonly outbox: string;
  /** string: `<epoch>-<seq>`, copy of Postgres's position; only ever raised within an epoch */
  readonly applied: string;
  /** set: ids of the sales that have a hash on this shard */
  readonly sales: string;
  /** set: ids of the archived sales that were taken out in this epoch; their definitions are refused */
  readonly archived: string;
}

export interface SaleKeys {
  /** hash: version, state, left, limit, opens_at, closes_at, moves, moved_at */
  readonly sale: string;
  /** hash: purchase field -> reservation (see fields.ts) */
  readonly buyers: string;
  /** set: ids of the grants taken in */
  readonly grants: string;
}

/** A shard's hash tag, with which all its keys begin; `InvariantViolation.place` names the shard by it. */
export const shardPlace = (shard: number): string => `{s${shard}}`;

export const shardKeys = (shard: number): ShardKeys => {
  const tag = shardPlace(shard);
  return {
    epoch: `${tag}:epoch`,
    open: `${tag}:open`,
    lease: `${tag}:lease`,
    attempt: `${tag}:attempt`,
    server: `${tag}:server`,
    outbox: `${tag}:outbox`,
    applied: `${tag}:applied`,
    sales: `${tag}:sales`,
    archived: `${tag}:archived`,
  };
};

export const saleKeys = (shard: number, saleId: string): SaleKeys => {
  const tag = shardPlace(shard);
  return {
    sale: `${tag}:sale:${saleId}`,
    buyers: `${tag}:buyers:${saleId}`,
    grants: `${tag}:grants:${saleId}`,
  };
};

const OF_SALE = /^(\{s\d+\}):sale:(.+)$/;

/** What a script with these keys works on: `{s0} <sale id>`, or `{s0}` if none of them is a sale's. */
export const placeOf = (keys: readonly string[]): string => {
  for (const key of keys) {
    const [, tag, saleId] = OF_SALE.exec(key) ?? [];
    if (tag !== undefined) return `${tag} ${saleId}`;
  }
  return /^\{s\d+\}/.exec(keys[0] ?? "")?.[0] ?? "";
};

/** Where a rebuild stages a sale's keys until `swap` puts them in place; named by the attempt that writes them. */
export const stagedKeys = (shard: number, attempt: string, saleId: string): SaleKeys => {
  const tag = `${shardPlace(shard)}:restore:${attempt}`;
  return {
    sale: `${tag}:sale:${saleId}`,
    buyers: `${tag}:buyers:${saleId}`,
    grants: `${tag}:grants:${saleId}`,
  };
};

/** Keys of the two-phase messages of shard N (DESIGN section 6); a rebuild of the shard never touches them. */
export interface MessageKeys {
  /** sorted set: gid of each message that waits for something, by the time it is due, ms of Redis's clock */
  readonly due: string;
  /** sorted set: gid of every message there is, by the time it was created */
  readonly messages: string;
  /** sorted set: gid of each finished message, by the time it expires */
  readonly finished: string;
  /** sorted set: gid of each dead letter, by the time it became one */
  readonly dead: string;
  /** sorted set: numbers of shards by which gids were placed here, by the last time each was in use */
  readonly placements: string;
}

export const messageKeys = (shard: number): MessageKeys => {
  const tag = shardPlace(shard);
  return {
    due: `${tag}:due`,
    messages: `${tag}:messages`,
    finished: `${tag}:messages:finished`,
    dead: `${tag}:messages:dead`,
    placements: `${tag}:messages:placements`,
  };
};

/** hash: one message; its fields are coordinator/messages/record.ts's */
export const messageKey = (shard: number, gid: string): string => `{s${shard}}:message:${gid}`;

/** hash: topic -> JSON of its subscribers. On shard 0, which every list of shards has. */
export const topicsKey = "{s0}:topics";

/** string `op` or `rollback`: whether a local step happened; dtm's spelling, so that its clients share it. In the user's own Redis. */
export const barrierKey = (gid: string, branchId: string, op: string, barrierId: string): string => `${gid}-${branchId}-${op}-${barrierId}`;
