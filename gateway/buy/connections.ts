import type { Redis } from "ioredis";
import { connectRedis, type RedisOptions } from "../../coordinator/program/connect.ts";

/** TCP connects to a server that hangs; its greeting then never comes. */
const HANDSHAKE_MS = 5_000;

interface Connection {
  readonly redis: Redis;
  /** when it was last seen ready, or was given up */
  sinceMs: number;
}

/** One connection to each Redis instance; shards on the same instance share it. */
export class Connections {
  readonly #byUrl = new Map<string, Connection>();
  readonly #shards: readonly Connection[];

  /** @param urls one a shard */
  constructor(urls: readonly string[], options: RedisOptions, nowMs: number) {
    this.#shards = urls.map((url) => {
      let connection = this.#byUrl.get(url);
      if (connection === undefined) {
        connection = { redis: connectRedis(url, options), sinceMs: nowMs };
        this.#byUrl.set(url, connection);
      }
      return connection;
    });
  }

  of(shard: number): Redis {
    const connection = this.#shards[shard];
    if (connection === undefined) throw new RangeError(`no shard ${shard}`);
    return connection.redis;
  }

  /** at least one instance can be asked */
  get isReady(): boolean {
    return this.#shards.some(({ redis }) => redis.status === "ready");
  }

  /** Tries a connection anew whose greeting does not come. */
  tick(nowMs: number): void {
    for (const connection of this.#byUrl.values()) {
      if (connection.redis.status === "ready") connection.sinceMs = nowMs;
      if (connection.redis.status !== "connect" || connection.sinceMs + HANDSHAKE_MS > nowMs) continue;
      connection.sinceMs = nowMs;
      connection.redis.disconnect(true);
    }
  }

  close(): void {
    for (const { redis } of this.#byUrl.values()) redis.disconnect();
  }
}
