import type { Redis } from "ioredis";
import { saleKeys, shardKeys } from "#lua";
import { beginRun, findOrInstall, startRedis, Store, type RedisPart } from "../../deploy/local/index.ts";
import { loadShard } from "../load/shard.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { openRedis, saleRecord, stockShard } from "../servers/front.ts";
import { interleaved, type Trial } from "../trials.ts";
import { memoryOf, type Watched } from "../usage.ts";

/** Decisions of one shard by its script, nothing in front of it: what batches are worth. */
const ENTRY = "shard.batch256";
const BATCH = 256;
const BATCHES = [1, 4, 16, 64, 128, 256, 512];
/** as a gateway's batcher has them on their way */
const CALLS = 2;
/** of the reference: one EVALSHA a buy, as the usual service with that many requests in hand sends them on one connection */
const SINGLE_CALLS = 64;
const UNITS = 1_000_000_000;
const WARM_UP_MS = 500;
const CURVE_MS = 1_000;

interface Stage {
  readonly bench: Bench;
  readonly redis: RedisPart;
  readonly client: Redis;
  readonly watched: Watched;
}

let sales = 0;

/** Each run has a sale of its own, and what it left is dropped: the next begins with the same small Redis. */
const run = async ({ bench, redis, client, watched }: Stage, batch: number, calls: number, measureMs: number): Promise<Trial> => {
  bench.goOn();
  const saleId = `shard-${(sales += 1)}`;
  await stockShard(client, 0, saleRecord(saleId, UNITS, [0]), UNITS);
  const trial = await loadShard({ url: redis.url, saleId, prefix: `b${sales}-`, batch, calls, warmUpMs: WARM_UP_MS, measureMs }, watched);
  await client.del(saleKeys(0, saleId).buyers);
  await client.xtrim(shardKeys(0).outbox, "MAXLEN", 0);
  return trial;
};

const measure = async (stage: Stage): Promise<Entry> => {
  const { bench } = stage;
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => {
      bench.step(`batches of ${BATCH}`);
      return run(stage, BATCH, CALLS, bench.runSeconds * 1_000);
    },
    reference: () => {
      bench.step("one EVALSHA a buy");
      return run(stage, 1, SINGLE_CALLS, bench.runSeconds * 1_000);
    },
  });
  const points: { readonly batch: number; readonly perSecond: number; readonly micros: number }[] = [];
  for (const batch of BATCHES) {
    bench.step(`batches of ${batch}`);
    const { count, seconds, cpuSeconds } = await run(stage, batch, CALLS, CURVE_MS);
    points.push({ batch, perSecond: count / seconds, micros: ((cpuSeconds["redis"] ?? 0) / count) * 1e6 });
  }
  return entryOf({
    ...outcome,
    what: `reserve.lua with batches of ${BATCH}, ${CALLS} on their way`,
    unit: "decisions",
    reference: `the same script, one EVALSHA a buy, ${SINGLE_CALLS} on their way on one connection, same fsync`,
    generator: "one Node process with ioredis, as a gateway process is",
    memoryBytes: await memoryOf(stage.watched),
    durability: "Redis appendfsync always",
    numbers: Object.fromEntries(points.map(({ batch, perSecond }) => [`batch${batch}PerSecond`, Math.round(perSecond)])),
    curves: [
      {
        title: "decisions a second by batch",
        x: "purchases a batch",
        y: "decisions a second",
        lines: [{ name: "one shard", points: points.map(({ batch, perSecond }): [number, number] => [batch, perSecond]) }],
      },
      {
        title: "cost by batch",
        x: "purchases a batch",
        y: "µs of Redis's CPU a decision",
        lines: [{ name: "one shard", points: points.map(({ batch, micros }): [number, number] => [batch, micros]) }],
      },
    ],
  });
};

export const shard: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const programs = await findOrInstall([Store.redis], { path: bench.environment["PATH"] }, (line) => bench.step(line));
    const servers = await beginRun({ environment: bench.environment, say: () => undefined });
    try {
      const redis = await startRedis(servers, { program: programs.redis, appendfsync: "always" });
      const client = await openRedis(redis.url, 0);
      try {
        entries[ENTRY] = await measure({ bench, redis, client, watched: { redis: [redis.part.pid ?? 0] } });
      } finally {
        client.disconnect();
      }
    } finally {
      await servers.end();
    }
  },
};
