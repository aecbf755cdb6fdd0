import { latency, latencyCurve, throughputCurve } from "../load/latency.ts";
import { generatorOf, send, type Sent, type Load } from "../load/send.ts";
import { addresses, requestText } from "../load/prepared-requests.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { bareAnswerOf, rawAnswer, statusOf } from "../servers/answer-bytes.ts";
import { startBare } from "../servers/bare.ts";
import { startFront, type Front } from "../servers/front.ts";
import { expectAnswered, answeredSince } from "../servers/answered.ts";
import { interleaved } from "../trials.ts";
import { memoryOf, type Watched } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** Decisions: every buyer buys once and wins; answered `202 reserved` when the shard has it, on disk with `always`. */
const SALE = "decide";
/** A crowd: enough for the batches that the engine is made for. */
const CONNECTIONS = 512;
/** Arrivals at a fixed rate need as many as are on their way at the same time. */
const OPEN_CONNECTIONS = 128;
/** Buyers made for each second of a run: more than this machine's cores could decide. */
const BUYERS_A_SECOND = 160_000;
const UNITS = 100_000_000;
const WARM_UP_S = 2;

const MODES = [
  { entry: "decide.always", appendfsync: "always", durability: "Redis appendfsync always: on disk before the answer" },
  { entry: "decide.everysec", appendfsync: "everysec", durability: "Redis appendfsync everysec: up to a second of answers can be lost" },
] as const;

/** Every answer of a run must be a win, and Redis must have as many units less. */
const checked = async (front: Front, leftBefore: number, sent: Sent): Promise<Sent> => {
  const sold = leftBefore - (await front.left(SALE));
  if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} answers were refusals`);
  // What was on its way when the generator stopped was sold too.
  if (sold < sent.count || sold > sent.count + CONNECTIONS)
    throw new Error(`${sent.count} answers of reserved, but ${sold} units were sold: buyers came twice`);
  return sent;
};

const measure = async (bench: Bench, front: Front, mode: (typeof MODES)[number]): Promise<Entry> => {
  await front.openSale(SALE, UNITS);
  const watched = await front.watched();
  const [first = ""] = addresses({ keys: front.ticketKeys, saleId: SALE, prefix: "first-", count: 1 });
  const won = await rawAnswer(front.port, requestText("POST", `/buy/${first}`, front.host));
  if (statusOf(won) !== 202) throw new Error(`the first buyer heard ${won}`);
  const bare = await startBare(front.run, bareAnswerOf(won), (watched["gateway"]?.length ?? 0) - 1);

  const load = (port: number, seconds: number, connections = CONNECTIONS): Load => ({
    host: front.host,
    port,
    requests: newBuyers(front.ticketKeys, SALE, BUYERS_A_SECOND * seconds),
    connections,
    pipelining: 1,
    seconds,
  });
  const side = async (name: string, port: number, pids: Watched, seconds: number): Promise<Sent> => {
    bench.step(`${mode.appendfsync}: ${name}`);
    const before = await front.left(SALE);
    const sent = await send(bench, load(port, seconds), pids, front.run.folder);
    return port === front.port && bench.wrk !== undefined ? checked(front, before, sent) : sent;
  };
  await side("warm-up", front.port, watched, WARM_UP_S);
  await side("warm-up of the reference", bare.port, bare.watched, WARM_UP_S);
  const before = await front.answered();
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => side("ours", front.port, watched, bench.runSeconds),
    reference: () => side("bare", bare.port, bare.watched, bench.runSeconds),
  });
  expectAnswered(answeredSince(await front.answered(), before), ["reserved"], 1);
  const generator = generatorOf(bench, { connections: CONNECTIONS, pipelining: 1 });
  bench.ceiling(generator, outcome.referencePerSecond ?? 0);

  const perSecond = outcome.perSecond / 2;
  bench.step(`${mode.appendfsync}: latency at ${Math.round(perSecond)} a second`);
  const mine = await latency(load(front.port, bench.runSeconds, OPEN_CONNECTIONS), perSecond, watched);
  const theirs = await latency(load(bare.port, bench.runSeconds, OPEN_CONNECTIONS), perSecond, bare.watched);
  return entryOf({
    ...outcome,
    what: "a new buyer with a ticket of his own buys over HTTP and wins",
    unit: "decisions",
    reference: "bare uWebSockets.js, the same requests and bytes, as many processes",
    generator,
    latencyPerSecond: perSecond,
    p50Ms: mine.p50Ms,
    p99Ms: mine.p99Ms,
    referenceP50Ms: theirs.p50Ms,
    referenceP99Ms: theirs.p99Ms,
    memoryBytes: await memoryOf(watched),
    durability: mode.durability,
    notes: ["gateway, one shard and the generator share the machine; carrying the orders to Postgres is the entry `orders`"],
    curves: [
      latencyCurve([
        { name: "ours", latency: mine },
        { name: "bare", latency: theirs },
      ]),
      throughputCurve([{ name: "ours", result: mine.result }]),
    ],
  });
};

export const decide: Scenario = {
  entries: MODES.map(({ entry }) => entry),
  run: async (bench, entries) => {
    for (const mode of MODES) {
      if (!bench.wants(mode.entry)) continue;
      const front = await startFront({ ...bench, say: (line) => bench.step(line), shards: 1, processes: 0, appendfsync: mode.appendfsync });
      try {
        entries[mode.entry] = await measure(bench, front, mode);
      } finally {
        await front.stop();
      }
    }
  },
};
