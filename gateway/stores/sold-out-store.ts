import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { askValue } from "#program/requests/ask";
import { requests } from "#protocol/requests/contract";
import { saleKeys } from "#lua/core/keys";
import { stock } from "#lua/stock/stock";
import type { SoldOutStore } from "../sales/sold-out.ts";

/** An answer that takes longer is worth little: the lease counts from the moment of asking. */
const FLAGS_WITHIN_MS = 400;
/** Fields a page: Redis is stopped for well below a millisecond. */
const PAGE = 1_000;

/** The workers' flags and the shards' buyers, from real servers. */
export const soldOutStore = (nats: NatsConnection, redisOf: (shard: number) => Redis): SoldOutStore => ({
  flags: () => askValue(nats, requests.soldOutFlags, {}, FLAGS_WITHIN_MS),
  stock: (shard, saleId) => stock(redisOf(shard), { shard, saleId }),
  buyers: async (shard, saleId, cursor) => {
    const [next, pairs] = await redisOf(shard).hscan(saleKeys(shard, saleId).buyers, cursor, "COUNT", PAGE);
    return { cursor: next, fields: pairs.filter((_, i) => i % 2 === 0) };
  },
});
