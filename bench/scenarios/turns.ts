import type { Redis } from "ioredis";
import { saleKeys, shardKeys } from "../../lua/index.ts";
import { beginRun, findOrInstall, settled, startRedis, Store, type RedisPart } from "../../deploy/local/index.ts";
import { loadShard } from "../load/shard.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { openRedis, saleRecord, stockShard } from "../servers/front.ts";
import { inTurns, type Trial } from "../trials.ts";

/**
 * What a shard's server pays for not having a core and its cache to itself: the same batches, one at a time, to one server
 * or to several in turn. Nothing waits and every batch is as large, so only what the others left in the caches differs.
 */
const ENTRY = "scale.turns";
const SERVERS = [1, 2, 4, 8];
/** about what a lane's calls carry in `scale` */
const BATCH = 48;
const UNITS = 1_000_000_000;
const WARM_UP_MS = 500;

interface Server {
  readonly redis: RedisPart;
  readonly client: Redis;
}

let sales = 0;

/** Each run has a sale of its own, and what it left is dropped: the next begins with the same small servers. */
const run = async (bench: Bench, servers: readonly Server[]): Promise<Trial> => {
  bench.goOn();
  bench.step(`batches of ${BATCH} to ${servers.length} servers in turn`);
  const saleId = `turns-${(sales += 1)}`;
  const record = saleRecord(saleId, UNITS, [...servers.keys()]);
  await settled(servers.map(({ client }, shard) => stockShard(client, shard, record, UNITS)));
  const trial = await loadShard(
    {
      urls: servers.map(({ redis }) => redis.url),
      saleId,
      prefix: `t${sales}-`,
      batch: BATCH,
      calls: 1,
      warmUpMs: WARM_UP_MS,
      measureMs: bench.runSeconds * 1_000,
    },
    { redis: servers.flatMap(({ redis }) => redis.part.pid ?? []) },
  );
  await settled(
    servers.flatMap(({ client }, shard) => [
      client.del(saleKeys(shard, saleId).buyers),
      client.xtrim(shardKeys(shard).outbox, "MAXLEN", 0),
    ]),
  );
  return trial;
};

const tenth = (value: number): number => Math.round(value * 10) / 10;

const measure = async (bench: Bench, servers: readonly Server[]): Promise<Entry> => {
  const { all, outcome } = await inTurns(bench.runs, SERVERS, (count) => run(bench, servers.slice(0, count)));
  return entryOf({
    ...outcome,
    what: `reserve.lua with batches of ${BATCH}, one on its way, to ${SERVERS.at(-1)} servers in turn`,
    unit: "decisions",
    reference: "the same to one server",
    generator: "one Node process with ioredis, as a gateway process is",
    durability: "Redis appendfsync always",
    numbers: Object.fromEntries(all.map(({ value, cpuMicros }) => [`redisMicrosPerDecision${value}`, tenth(cpuMicros ?? 0)])),
  });
};

export const turns: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const programs = await findOrInstall([Store.redis], { path: bench.environment["PATH"] }, (line) => bench.step(line));
    const started = await beginRun({ environment: bench.environment, say: () => undefined });
    const servers: Server[] = [];
    try {
      for (let shard = 0; shard < Math.max(...SERVERS); shard += 1) {
        const redis = await startRedis(started, { name: `redis-${shard}`, program: programs.redis, appendfsync: "always" });
        servers.push({ redis, client: await openRedis(redis.url, shard) });
      }
      entries[ENTRY] = await measure(bench, servers);
    } finally {
      for (const { client } of servers) client.disconnect();
      await started.end();
    }
  },
};
