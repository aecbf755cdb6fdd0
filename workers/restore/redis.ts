import type { Redis } from "ioredis";
import type { RestoreRequest } from "#protocol/requests";
import { listSales, stagedKeys, swapShard } from "#lua";
import type { RestoreTarget } from "./restore-ports.ts";

/** Staged keys of an attempt that was given up disappear by themselves; each chunk prolongs its own key. */
const STAGED_MS = 600_000;

const write = async (redis: Redis, key: string, command: "hset" | "sadd", values: readonly string[]): Promise<void> => {
  if (values.length === 0) return;
  const replies = await redis
    .pipeline([
      [command, key, ...values],
      ["pexpire", key, STAGED_MS],
    ])
    .exec();
  for (const [error] of replies ?? []) if (error !== null) throw error;
};

/** Staged keys of one attempt in one shard's Redis. */
export const redisRestoreTarget = (redis: Redis, request: RestoreRequest): RestoreTarget => {
  const { shard, attempt, replicationId, epoch } = request;
  return {
    stageBuyers: (saleId, fields) => write(redis, stagedKeys(shard, attempt, saleId).buyers, "hset", fields.flat()),
    stageGrants: (saleId, grantIds) => write(redis, stagedKeys(shard, attempt, saleId).grants, "sadd", grantIds),
    stageSale: (sale, { moves, movedAt }) =>
      write(redis, stagedKeys(shard, attempt, sale.saleId).sale, "hset", [
        "version",
        String(sale.version),
        "state",
        sale.state,
        "left",
        String(sale.left),
        "limit",
        String(sale.limit),
        "opens_at",
        String(sale.opensAtMs),
        "closes_at",
        String(sale.closesAtMs),
        "moves",
        String(moves),
        "moved_at",
        movedAt,
      ]),
    listSales: () => listSales(redis, shard),
    swap: ({ sales, dropped }) => swapShard(redis, { shard, attempt, replicationId, toEpoch: epoch, sales, dropped }),
  };
};
