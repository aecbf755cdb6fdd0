import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "nats";
import { connectNatsOnce, connectShards, systemClock, type Log, type NatsSettings, type TlsFiles } from "#program";
import type { AuditStores } from "./audit.ts";
import type { ComparisonPlace } from "./comparison-pool.ts";
import { readLog } from "./log-facts.ts";
import { openAuditDatabase } from "./postgres-facts.ts";

export interface StoreAddresses {
  /** one URL a shard, as REDIS_SHARDS has them */
  readonly redisShards: readonly string[];
  readonly redisTls?: TlsFiles;
  readonly nats: NatsSettings;
  readonly databaseUrl: string;
  readonly databaseCaFile?: string | undefined;
}

/** Time for the first connections; a store that is away longer shows as StoreAway when it is read. */
const CONNECT_MS = 3_000;
const COMMAND_TIMEOUT_MS = 10_000;

/** The log is informational: an audit neither waits long for it nor fails without it. */
const connectToLog = (addresses: StoreAddresses): Promise<NatsConnection | undefined> =>
  connectNatsOnce(addresses.nats, "audit", CONNECT_MS).catch(() => undefined);

/** Connects to everything an audit reads. `close` ends all of it, also a connection that never came about. */
export const openStores = async (
  addresses: StoreAddresses,
  place: ComparisonPlace,
  log: Log,
): Promise<AuditStores & { close(): Promise<void> }> => {
  const redis = connectShards(addresses.redisShards, {
    name: "audit",
    log,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    ...(addresses.redisTls === undefined ? {} : { tls: addresses.redisTls }),
  });
  const nats = await connectToLog(addresses);
  const leave = (): void => {
    for (const connection of redis) connection.disconnect();
  };
  const database = await openAuditDatabase(addresses.databaseUrl, addresses.databaseCaFile).catch(async (error: unknown) => {
    // connections that try for ever would keep the program alive
    leave();
    await Promise.all([place.close(), nats?.close()]);
    throw error;
  });
  const ready = redis.map((connection) => new Promise<void>((resolve) => void connection.once("ready", resolve)));
  await Promise.race([Promise.all(ready), delay(CONNECT_MS, undefined, { ref: false })]);
  return {
    redis,
    database,
    place,
    clock: systemClock,
    readLog: async () => (nats === undefined ? [] : await readLog(nats, redis.length)),
    close: async () => {
      leave();
      await Promise.all([database.close(), place.close(), nats?.close()]);
    },
  };
};
