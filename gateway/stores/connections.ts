import type { Redis } from "ioredis";
import { connectShards, type RedisOptions } from "#program/connect";

/** TCP connects to a server that hangs; its greeting then never comes. */
const HANDSHAKE_MS = 5_000;

interface Connection {
  readonly redis: Redis;
  /** when it was last seen ready, or was given up */
  sinceMs: number;
}

/** The connections to the shards' servers; shards on the same instance share one. */
export class RedisConnections {
  readonly #all: readonly Connection[];
  readonly #shards: readonly Redis[];

  /** @param urls one a shard */
  constructor(urls: readonly string[], options: RedisOptions, nowMs: number) {
    this.#shards = connectShards(urls, options);
    this.#all = [...new Set(this.#shards)].map((redis) => ({ redis, sinceMs: nowMs }));
  }

  of(shard: number): Redis {
    const redis = this.#shards[shard];
    if (redis === undefined) throw new RangeError(`no shard ${shard}`);
    return redis;
  }

  /** at least one shard's server can be asked */
  get isReady(): boolean {
    return this.#shards.some((redis) => redis.status === "ready");
  }

  /** Tries a connection anew whose greeting does not come. */
  tick(nowMs: number): void {
    for (const connection of this.#all) {
      if (connection.redis.status === "ready") connection.sinceMs = nowMs;
      if (connection.redis.status !== "connect" || connection.sinceMs + HANDSHAKE_MS > nowMs) continue;
      connection.sinceMs = nowMs;
      connection.redis.disconnect(true);
    }
  }

  close(): void {
    for (const { redis } of this.#all) redis.disconnect();
  }
}
