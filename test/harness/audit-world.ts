import { Redis } from "ioredis";
import { Client } from "pg";
import { systemClock } from "#program";
import { freshDatabase, startRedis } from "./index.ts";
import type { AuditStores } from "../../workers/audit/audit.ts";
import { compareHere } from "../../workers/audit/comparison-pool.ts";
import { openAuditDatabase } from "../../workers/audit/postgres-facts.ts";

/**
 * What the auditor reads: a Redis, a database of the test's own and an empty log, which tests write into without the engine's
 * code. Starts one Redis and copies the migrated database; `close` ends and drops both.
 */
export interface AuditWorld {
  readonly redis: Redis;
  readonly sql: Client;
  readonly stores: AuditStores;
  close(): Promise<void>;
}

/** A Redis that holds so many shards, and a database of its own. */
export const startAuditWorld = async (shards: number): Promise<AuditWorld> => {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const database = await freshDatabase();
  const sql = new Client({ connectionString: database.url });
  await sql.connect();
  const read = await openAuditDatabase(database.url);
  return {
    redis,
    sql,
    stores: {
      redis: Array.from({ length: shards }, () => redis),
      database: read,
      readLog: async () => [],
      place: compareHere,
      clock: systemClock,
      settleMs: 100,
    },
    close: async () => {
      await read.close();
      await sql.end();
      await database.drop();
      redis.disconnect();
      await server.stop();
    },
  };
};
