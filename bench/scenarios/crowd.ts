import { generate } from "../load/generator.ts";
import { throughputCurve } from "../load/latency.ts";
import { answersOf, type LoadResult } from "../load/order.ts";
import { orderOf } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { compared } from "../trials.ts";
import { memoryOf, plus } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** A million buyers for ten thousand units: how fast everybody has an answer, and what stays of them in memory. */
const ENTRY = "crowd";
const SALE = "crowd";
const UNITS = 10_000;
const BUYERS = 1_000_000;
/** The first part of the crowd, so that memory can be read between the last winner and the flood of the others. */
const FIRST = 12_000;
const CONNECTIONS = 512;
/** The load ends when all have asked; this only bounds it. */
const PATIENCE_S = 600;
const NO_WARM_UP = 0;

/** Bytes that Redis uses, over all shards. */
const redisBytes = async (whole: Whole): Promise<number> => {
  let bytes = 0;
  for (const redis of whole.redis) bytes += Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1] ?? 0);
  return bytes;
};

interface Part {
  readonly result: LoadResult;
  readonly cpuSeconds: Readonly<Record<string, number>>;
}

const come = async (whole: Whole, buyers: number): Promise<Part> => {
  const requests = newBuyers(whole.ticketKeys, SALE, buyers);
  const load = { host: whole.host, port: whole.port, requests, connections: CONNECTIONS, pipelining: 1, seconds: PATIENCE_S };
  return generate(orderOf(load, NO_WARM_UP), await whole.watched());
};

const countOf = (part: Part, status: number): number => part.result.answered[status] ?? 0;

const measure = async (bench: Bench, whole: Whole): Promise<Entry> => {
  await whole.openSale(SALE, UNITS);
  const empty = await redisBytes(whole);
  const memoryBefore = await memoryOf(await whole.watched());
  bench.step(`the first ${FIRST.toLocaleString("en-US")} buyers`);
  const first = await come(whole, FIRST);
  await whole.untilSold(SALE, UNITS);
  const full = await redisBytes(whole);
  bench.step(`the other ${(BUYERS - FIRST).toLocaleString("en-US")}`);
  const rest = await come(whole, BUYERS - FIRST);
  const after = await redisBytes(whole);
  const sold = await whole.sold(SALE);
  const won = countOf(first, 202) + countOf(rest, 202);
  if (sold !== UNITS || won !== UNITS) throw new Error(`${UNITS} units, ${won} told reserved, ${sold} in Postgres`);
  const answered = answersOf(first.result) + answersOf(rest.result);
  if (answered !== BUYERS) throw new Error(`${answered} of ${BUYERS} buyers had an answer within ${PATIENCE_S} s`);
  const outcome = compared(
    [
      {
        count: answered,
        seconds: first.result.seconds + rest.result.seconds,
        cpuSeconds: plus(first.cpuSeconds, rest.cpuSeconds),
      },
    ],
    [],
  );
  const memoryBytes = await memoryOf(await whole.watched());
  const grown = Object.fromEntries(
    Object.entries(memoryBytes).map(([program, bytes]) => [`${program}GrewBytes`, bytes - (memoryBefore[program] ?? 0)]),
  );
  return entryOf({
    ...outcome,
    what: `${BUYERS.toLocaleString("en-US")} buyers with a ticket each ask once for ${UNITS.toLocaleString("en-US")} units`,
    unit: "answers",
    generator: "bench/load/generator-main.js",
    memoryBytes,
    durability: "Redis appendfsync always; every order in Postgres",
    numbers: {
      soldUnits: sold,
      soldOut: countOf(first, 409) + countOf(rest, 409),
      comeAgain: countOf(first, 503) + countOf(rest, 503),
      redisBytesPerWinner: Math.round((full - empty) / UNITS),
      redisBytesPerRefusedBuyer: Math.round((after - full) / (BUYERS - FIRST)),
      ...grown,
    },
    notes: [
      "a winner's bytes are all that Redis uses more when every order is settled; a refused buyer's are what it uses more after the flood",
      "memory is resident size; processes of one program are added up",
    ],
    curves: [throughputCurve([{ name: "answers", result: rest.result }])],
  });
};

export const crowd: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const whole = await startWhole(bench, { shards: 1 });
    try {
      entries[ENTRY] = await measure(bench, whole);
    } finally {
      await whole.stop();
    }
  },
};
