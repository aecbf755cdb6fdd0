import type { Redis } from "ioredis";
import { reserve } from "#lua/stock/reserve";
import { standing } from "#lua/stock/standing";
import type { PurchaseStore } from "../buy/service-ports.ts";

/** A shard on a real Redis. `outboxLimit` is the bound above which first purchases are `busy`. */
export const redisPurchaseStore = (redis: Redis, shard: number, outboxLimit: number): PurchaseStore => ({
  isReady: () => redis.status === "ready",
  reserve: (saleId, purchases) => reserve(redis, { shard, saleId, outboxLimit, purchases }),
  standing: (saleId, purchases) => standing(redis, { shard, saleId, purchases }),
  reset: () => redis.disconnect(true),
});
