import { Store } from "./binaries.ts";
import { findOrInstall } from "./install.ts";
import { startNats } from "./nats.ts";
import type { Part } from "./part.ts";
import { startPostgres } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import type { Run } from "./run.ts";
import { settled } from "./wait.ts";

/** A server that the programs use; without `part` and `dir` if it was there already. */
export interface StoreAddress {
  readonly url: string;
  readonly dir?: string;
  readonly part?: Part;
}

export interface NatsAddress extends StoreAddress {
  readonly user?: string | undefined;
  readonly pass?: string | undefined;
}

/** The three stores, started here or given by REDIS_SHARDS, NATS_URL and DATABASE_URL. */
export interface Stores {
  /** by shard */
  readonly redis: readonly StoreAddress[];
  readonly nats: NatsAddress;
  readonly postgres: StoreAddress;
}

const present = (text: string | undefined): string | undefined => (text === undefined || text.trim() === "" ? undefined : text.trim());

/**
 * Starts the servers that the environment does not name, all at once, each on a port and in a folder of its own.
 * @param fill applies the migrations to the database, before it is used and whenever it was made anew
 */
export const startStores = async (run: Run, shards: number, fill: (databaseUrl: string) => Promise<void>): Promise<Stores> => {
  const redisUrls = present(run.environment["REDIS_SHARDS"])?.split(",");
  const natsUrl = present(run.environment["NATS_URL"]);
  const databaseUrl = present(run.environment["DATABASE_URL"]);

  const needed = [
    ...(redisUrls === undefined ? [Store.redis] : []),
    ...(natsUrl === undefined ? [Store.nats] : []),
    ...(databaseUrl === undefined ? [Store.postgres] : []),
  ];
  const programs = await findOrInstall(needed, { path: run.environment["PATH"] }, run.say);

  const startRedises = async (): Promise<Stores["redis"]> =>
    redisUrls?.map((url) => ({ url: url.trim() })) ??
    (await settled(Array.from({ length: shards }, (_, shard) => startRedis(run, { name: `redis-${shard}`, program: programs.redis }))));

  const startOneNats = async (): Promise<NatsAddress> =>
    natsUrl === undefined
      ? startNats(run, { program: programs.nats })
      : { url: natsUrl, user: present(run.environment["NATS_USER"]), pass: present(run.environment["NATS_PASSWORD"]) };

  const startOnePostgres = async (): Promise<StoreAddress> => {
    if (databaseUrl === undefined) return startPostgres(run, { programs, fill });
    await fill(databaseUrl);
    return { url: databaseUrl };
  };

  const [redis, nats, postgres] = await settled([startRedises(), startOneNats(), startOnePostgres()]);
  return { redis, nats, postgres };
};
