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
  /** when it was last started again without its data, on performance.now()'s clock */
  readonly emptiedAtMs?: number | undefined;
}

interface NatsAddress extends StoreAddress {
  readonly user?: string | undefined;
  readonly pass?: string | undefined;
}

/** The three stores, started here or given by REDIS_SHARDS, NATS_URL and DATABASE_URL. */
export interface Stores {
  /** by shard; shards on the same instance have the same object */
  readonly redis: readonly StoreAddress[];
  readonly nats: NatsAddress;
  readonly postgres: StoreAddress;
}

const present = (text: string | undefined): string | undefined => (text === undefined || text.trim() === "" ? undefined : text.trim());

/** REDIS_SHARDS: one URL a shard, `URL*8` for eight times the same. */
const givenShards = (text: string): StoreAddress[] =>
  text.split(",").flatMap((item) => {
    const [, url = "", times = "1"] = /^(.*?)(?:\*(\d+))?$/.exec(item.trim()) ?? [];
    return Array.from({ length: Number(times) }, () => ({ url }));
  });

export interface StoresOptions {
  readonly shards: number;
  /** Redis servers that the shards are dealt to */
  readonly redis: number;
}

/**
 * Starts the servers that the environment does not name, all at once, each on a port and in a folder of its own.
 * @param fill applies the migrations to the database, before it is used and whenever it was made anew
 */
export const startStores = async (
  run: Run,
  { shards, redis: servers }: StoresOptions,
  fill: (databaseUrl: string) => Promise<void>,
): Promise<Stores> => {
  const redisUrls = present(run.environment["REDIS_SHARDS"]);
  const natsUrl = present(run.environment["NATS_URL"]);
  const databaseUrl = present(run.environment["DATABASE_URL"]);

  const needed = [
    ...(redisUrls === undefined ? [Store.redis] : []),
    ...(natsUrl === undefined ? [Store.nats] : []),
    ...(databaseUrl === undefined ? [Store.postgres] : []),
  ];
  const programs = await findOrInstall(needed, { path: run.environment["PATH"] }, run.say);

  const startRedises = async (): Promise<Stores["redis"]> => {
    if (redisUrls !== undefined) return givenShards(redisUrls);
    const count = Math.min(servers, shards);
    const started = await settled(
      Array.from({ length: count }, (_, server) => startRedis(run, { name: `redis-${server}`, program: programs.redis })),
    );
    return Array.from({ length: shards }, (_, shard) => started[shard % count] as StoreAddress);
  };

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
