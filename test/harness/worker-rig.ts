// oxlint-disable no-restricted-imports -- a world puts the parts of a worker together one by one; the door has only the whole program
import type { Redis } from "ioredis";
import type { NatsConnection } from "nats";
import { systemClock } from "#program";
import { KnownPositions } from "../../workers/apply/known.ts";
import { postgresApplyStore } from "../../workers/apply/postgres.ts";
import { ShardConsumer } from "../../workers/consume/consumer.ts";
import { runApplier, Settler } from "../../workers/apply/applier.ts";
import type { Database } from "../../workers/db/database.ts";
import { postgresOrdersStore } from "../../workers/orders/postgres.ts";
import { requestHandlers } from "../../workers/requests/handlers.ts";
import { serve, type RequestServer } from "#program/requests/serve";
import { postgresRestoreSource } from "../../workers/restore/postgres.ts";
import { redisRestoreTarget } from "../../workers/restore/redis.ts";
import { restoreShard } from "../../workers/restore/restore.ts";
import { redisSweepShards } from "../../workers/sales/sweep-stores.ts";
import { hearAttempts } from "../../workers/shards/attempt-board.ts";
import { shardAdmin } from "../../workers/shards/admin.ts";

/** What a worker does for one shard: applies its messages, and answers requests. Each can be stopped alone. */
export interface WorkerRig {
  startLane(): void;
  stopLane(): Promise<void>;
  startAnswers(): void;
  stopAnswers(): Promise<void>;
}

const nothing = (): void => undefined;

export const startWorkerRig = async (parts: {
  readonly shard: number;
  readonly connection: NatsConnection;
  readonly redis: Redis;
  readonly database: Database;
}): Promise<WorkerRig> => {
  const { shard, connection, redis, database } = parts;
  const manager = await connection.jetstreamManager({ checkAPI: false });
  const source = postgresRestoreSource(database);
  let server: RequestServer | undefined;
  let lane: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;
  const world: WorkerRig = {
    startAnswers: () => {
      server ??= serve({
        connection,
        fault: nothing,
        handlers: requestHandlers({
          database,
          shards: shard + 1,
          shardAdmin: shardAdmin({ database, shards: shard + 1, redisOf: () => redis, attempts: hearAttempts(connection, systemClock) }),
          restore: (request, progress) => restoreShard(source, redisRestoreTarget(redis, request), systemClock, request, progress),
          orders: { store: postgresOrdersStore(database), observer: { changed: nothing, paid: nothing } },
          changed: nothing,
        }),
      });
    },
    stopAnswers: async () => {
      await server?.close();
      server = undefined;
    },
    startLane: () => {
      if (lane !== undefined) return;
      const stop = new AbortController();
      const ended = runApplier(
        {
          shard,
          connection,
          consumer: new ShardConsumer({ connection, manager, shard, clock: systemClock, fault: nothing }),
          settler: new Settler({ shards: redisSweepShards(() => redis), shard, fault: nothing }),
          delivery: {
            store: postgresApplyStore(database),
            clock: systemClock,
            observer: { done: nothing, fault: nothing },
            known: new KnownPositions(systemClock),
          },
        },
        stop.signal,
      );
      lane = { stop, ended };
    },
    stopLane: async () => {
      lane?.stop.abort();
      await lane?.ended;
      lane = undefined;
    },
  };
  return world;
};
