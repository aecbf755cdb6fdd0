import { generate } from "../load/generator.ts";
import { loadLive } from "../load/live.ts";
import { answersOf } from "../load/order.ts";
import { orderOf } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startFront, type Front } from "../servers/front.ts";
import { interleaved, type Trial } from "../trials.ts";
import { memoryOf } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** The same purchases of the same number of buyers, over WebSockets and over HTTP. */
const ENTRY = "live";
const SALE = "live";
const UNITS = 100_000_000;
/** As many as a buyer may make at once (DOORBUSTER_BUYER_BURST). */
const EACH = 10;
const LIMIT = 1_000;
const BUYERS_A_SECOND = 3_000;
/** A process may have some 20,000 files open on a usual machine. */
const MOST_BUYERS = 9_000;
const ON_THE_WAY = 128;
const WARM_UP_PART = 5;
/** The load ends when all have bought; this only bounds it. */
const PATIENCE_S = 60;

const overSockets = async (front: Front, buyers: number): Promise<Trial> => {
  const { keys, saleId, prefix } = newBuyers(front.ticketKeys, SALE, buyers);
  const { host, port } = front;
  const warmUp = Math.floor((buyers * EACH) / WARM_UP_PART);
  return loadLive({ host, port, keys, saleId, prefix, buyers, each: EACH, onTheWay: ON_THE_WAY, warmUp }, await front.watched());
};

const overHttp = async (front: Front, buyers: number): Promise<Trial> => {
  const requests = newBuyers(front.ticketKeys, SALE, buyers, "", EACH);
  const load = { host: front.host, port: front.port, requests, connections: ON_THE_WAY, pipelining: 1, seconds: PATIENCE_S };
  const { result, cpuSeconds } = await generate(orderOf(load, 300), await front.watched());
  const { "202": won = 0 } = result.answered;
  if (won !== answersOf(result)) throw new Error(`every purchase was to be won: ${JSON.stringify(result.answered)}`);
  return { count: won, seconds: result.seconds, cpuSeconds };
};

const measure = async (bench: Bench, front: Front): Promise<Entry> => {
  await front.openSale(SALE, UNITS, LIMIT);
  const buyers = Math.min(MOST_BUYERS, BUYERS_A_SECOND * bench.runSeconds);
  bench.step("warm-up");
  await overSockets(front, Math.ceil(buyers / WARM_UP_PART));
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => {
      bench.step(`${buyers} sockets`);
      return overSockets(front, buyers);
    },
    reference: () => {
      bench.step("the same over HTTP");
      return overHttp(front, buyers);
    },
  });
  return entryOf({
    ...outcome,
    what: `${buyers} buyers, each on a WebSocket of his own, buy ${EACH} times and win; ${ON_THE_WAY} purchases on their way`,
    unit: "decisions",
    reference: `the same purchases over HTTP, ${ON_THE_WAY} connections`,
    generator: "bench/load/live-main.js, bench/load/generator-main.js",
    memoryBytes: await memoryOf(await front.watched()),
    durability: "Redis appendfsync always",
    notes: ["the generators differ: their CPU is in cpuSeconds"],
  });
};

export const live: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const front = await startFront({ ...bench, say: (line) => bench.step(line), shards: 1, processes: 0, appendfsync: "always" });
    try {
      entries[ENTRY] = await measure(bench, front);
    } finally {
      await front.stop();
    }
  },
};
