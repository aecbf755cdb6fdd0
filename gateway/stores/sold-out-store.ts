import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { z } from "zod";
import { answerSchema, soldOutFlagsSchema } from "#protocol/requests";
import { Request } from "#protocol/subjects";
import { saleKeys } from "#lua/core/keys";
import { stock } from "#lua/stock/stock";
import type { SoldOutStore } from "../sales/sold-out.ts";

/** An answer that takes longer is worth little: the lease counts from the moment of asking. */
const FLAGS_TIMEOUT_MS = 400;
/** Fields a page: Redis is stopped for well below a millisecond. */
const PAGE = 1_000;

const answer: z.ZodType<{ ok: true; value: z.infer<typeof soldOutFlagsSchema> } | { ok: false; code: string; detail: string }> =
  answerSchema(soldOutFlagsSchema);

/** The workers' flags and the shards' buyers, from real servers. */
export const soldOutStore = (nats: NatsConnection, redisOf: (shard: number) => Redis): SoldOutStore => ({
  flags: async () => {
    const message = await nats.request(Request.soldOutFlags, JSON.stringify({}), { timeout: FLAGS_TIMEOUT_MS });
    const parsed = answer.parse(message.json());
    if (!parsed.ok) throw new Error(`${Request.soldOutFlags}: ${parsed.code}: ${parsed.detail}`);
    return parsed.value;
  },
  stock: (shard, saleId) => stock(redisOf(shard), { shard, saleId }),
  buyers: async (shard, saleId, cursor) => {
    const [next, pairs] = await redisOf(shard).hscan(saleKeys(shard, saleId).buyers, cursor, "COUNT", PAGE);
    return { cursor: next, fields: pairs.filter((_, i) => i % 2 === 0) };
  },
});
