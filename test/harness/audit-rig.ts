import { Redis } from "ioredis";
import { Client } from "pg";
import { systemClock } from "#program";
import { freshDatabase, startRedis } from "./index.ts";
import type { AuditStores } from "../../workers/audit/audit.ts";
import { compareHere } from "../../workers/audit/comparison-pool.ts";
import { openAuditDatabase } from "../../workers/audit/postgres-facts.ts";

/** Stores for the auditor's tests, which write into them without the engine's code. */
export interface AuditRig {
  readonly redis: Redis;
  readonly sql: Client;
  readonly stores: AuditStores;
  close(): Promise<void>;
}

/** A Redis that holds so many shards, and a database of its own. */
export const openAuditRig = async (shards: number): Promise<AuditRig> => {
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
