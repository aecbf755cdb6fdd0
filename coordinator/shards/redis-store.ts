import type { Redis } from "ioredis";
import { closeShard } from "#lua/shard/close";
import { keepShard } from "#lua/shard/keep";
import { acquireLease } from "#lua/shard/lease";
import { openShard } from "#lua/shard/open";
import { listSales, readOutbox } from "#lua/shard/outbox";
import { releaseLease } from "#lua/shard/release";
import { renewShard } from "#lua/shard/renew";
import { shardState } from "#lua/shard/shard-state";
import type { Outbox } from "./relay/relay-ports.ts";
import type { ShardStore } from "./shard-ports.ts";

/**
 * The scripts on a shard's Redis.
 * @param redis for commands, with a time-out
 * @param connect opens a connection for reads that block, with a longer time-out than those
 */
export const createShardStore = (shard: number, redis: Redis, connect: () => Redis): ShardStore => ({
  state: () => shardState(redis, { shard }),
  acquireLease: (token, leaseMs) => acquireLease(redis, { shard, token, leaseMs }),
  releaseLease: (token) => releaseLease(redis, { shard, token }),
  close: (request) => closeShard(redis, { shard, ...request }),
  keep: (request) => keepShard(redis, { shard, ...request }),
  open: (request) => openShard(redis, { shard, ...request }),
  renew: (request) => renewShard(redis, { shard, ...request }),
  listSales: () => listSales(redis, shard),
  readOutbox: (after, count) => readOutbox(redis, { shard, after, count }),
  openOutbox: (): Outbox => {
    const own = connect();
    let whenReady: Promise<void> | undefined = new Promise((resolve) => {
      own.once("ready", resolve).once("end", () => resolve());
    });
    return {
      read: async (after, count, blockMs) => {
        await whenReady;
        whenReady = undefined;
        try {
          // BLOCK 0 would block for ever
          return await readOutbox(own, { shard, after, count, ...(blockMs > 0 ? { blockMs } : {}) });
        } catch (error) {
          // a dead peer is noticed by silence only: a new connection, rather than the same silence again
          if (own.status === "ready") own.disconnect(true);
          throw error;
        }
      },
      close: () => own.disconnect(),
    };
  },
});
