import { z } from "zod";
import { operation, type ZodServer } from "#program/zod-routes";
import { allShardFactsSchema, ShardChange, shardFactsSchema } from "#protocol/shard-facts";
import { answers } from "./answers.ts";
import { forward } from "./problem.ts";
import type { WorkerRequests } from "./worker-requests.ts";

const NOT_A_SHARD = "not the number of a shard";
const shardNumber = z.preprocess(
  (text) => (typeof text === "string" && /^\d{1,5}$/.test(text) ? Number(text) : text),
  z.int(NOT_A_SHARD).min(0).max(99_999),
);
const params = z.strictObject({ shard: shardNumber });
/** What cannot be taken back is asked for twice. */
const consent = z.strictObject({
  loseUnconfirmed: z
    .literal(true)
    .meta({ description: "agrees that reservations that are not in Postgres are lost, though buyers were answered that they have them" }),
});

const CHANGES: Readonly<Record<ShardChange, string>> = {
  drain: "Move the shard's units away and put no new sale on it; when its state is `drained`, its server can be stopped",
  undrain: "Let the shard take units and sales again",
  retry: "Take a halt away: what could not be applied is tried again, and halts the shard again if it still cannot",
  discard: "Give up what the Redis of a shard that does not sell holds beyond Postgres, and rebuild it from Postgres",
};

/** Shards: list, and what can be asked for one. */
export const shardRoutes = (server: ZodServer, workers: WorkerRequests): void => {
  const list = operation({
    operationId: "listShards",
    summary: "Every shard: state, epoch, lease holder, lag, units, the attempt to begin an epoch",
    response: answers({ description: "the shards, by number", schema: allShardFactsSchema }, [401, 503]),
  });
  server.get("/shards", { schema: list }, async (_request, reply) => forward(reply, await workers.shards()));

  for (const change of Object.values(ShardChange)) {
    const schema = operation({
      operationId: `${change}Shard`,
      summary: CHANGES[change],
      params,
      ...(change === ShardChange.discard ? { body: consent } : {}),
      response: answers({ description: "the shard as it is now", schema: shardFactsSchema }, [400, 401, 404, 409, 503]),
    });
    server.post(`/shards/:shard/${change}`, { schema }, async ({ params: { shard } }, reply) =>
      forward(reply, await workers.changeShard({ shard, change })),
    );
  }
};
