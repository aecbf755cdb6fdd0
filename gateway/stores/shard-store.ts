import type { Redis } from "ioredis";
import { reserve } from "#lua/stock/reserve";
import { standing } from "#lua/stock/standing";
import type { ShardStore } from "../buy/service-ports.ts";

/** A shard on a real Redis. `outboxLimit` is the bound above which first purchases are `busy`. */
export const redisShardStore = (redis: Redis, shard: number, outboxLimit: number): ShardStore => ({
  isReady: () => redis.status === "ready",
  reserve: (saleId, purchases) => reserve(redis, { shard, saleId, outboxLimit, purchases }),
  standing: (saleId, purchases) => standing(redis, { shard, saleId, purchases }),
  reset: () => redis.disconnect(true),
});
