import { availableParallelism } from "node:os";
import { generatorOf, send, type Volley } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startFront, type Front } from "../servers/front.ts";
import { interleaved, type Trial } from "../trials.ts";
import { newBuyers } from "./buyers.ts";

/** What a decision costs with more shards and with more gateway processes: on few cores only its CPU time can tell. */
const SHARDS = [1, 2, 4, 8];
const PROCESSES = [1, 2, 4];
const PROCESS_SHARDS = 2;
const SALE = "scale";
const UNITS = 100_000_000;
/** For each shard of each process: a larger house is built for a larger crowd, and the batches stay as large as they were. */
const CONNECTIONS_A_LANE = 128;
const BUYERS_A_SECOND = 80_000;
const WARM_UP_S = 1;
/** The machine that the arithmetic is done for. */
const CORES = 16;

const byShards = (shards: number): string => `scale.${shards}`;
const byProcesses = (processes: number): string => `scale.processes${processes}`;

const load = async (bench: Bench, front: Front, connections: number, seconds: number): Promise<Trial> => {
  const requests = newBuyers(front.ticketKeys, SALE, BUYERS_A_SECOND * seconds);
  const volley: Volley = { host: front.host, port: front.port, requests, connections, pipelining: 1, seconds };
  const sent = await send(bench, volley, await front.watched(), front.run.folder);
  if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} buyers were refused`);
  return sent;
};

const measure = async (bench: Bench, shards: number, processes: number): Promise<Entry> => {
  const front = await startFront({ ...bench, say: (line) => bench.step(line), shards, processes, appendfsync: "always" });
  try {
    await front.openSale(SALE, UNITS);
    bench.step(`${shards} shards, ${processes === 0 ? "default" : processes} processes`);
    const lanes = shards * (processes === 0 ? availableParallelism() : processes);
    const connections = CONNECTIONS_A_LANE * lanes;
    await load(bench, front, connections, WARM_UP_S);
    const outcome = await interleaved({
      runs: bench.runs,
      ours: () => load(bench, front, connections, bench.runSeconds),
      reference: undefined,
    });
    const counted = outcome.runs.reduce((sum, { perSecond }) => sum + perSecond * bench.runSeconds, 0);
    const micros = (program: string): number => Math.round(((outcome.cpuSeconds[program] ?? 0) / counted) * 1e7) / 10;
    return entryOf({
      ...outcome,
      what: `decisions over HTTP, all won, ${shards} shards (a Redis each), ${processes === 0 ? "one gateway process a core" : `${processes} gateway processes`}`,
      unit: "decisions",
      generator: generatorOf(bench, { connections, pipelining: 1 }),
      durability: "Redis appendfsync always",
      numbers: { gatewayMicrosPerDecision: micros("gateway"), redisMicrosPerDecision: micros("redis") },
    });
  } finally {
    await front.stop();
  }
};

/** Adds what the CPU time implies, against the smallest of the row. */
const implied = (entry: Entry, first: Entry | undefined): Entry => {
  if (entry.cpuMicros === null) return entry;
  const against = first?.cpuMicros ?? null;
  return {
    ...entry,
    numbers: {
      ...entry.numbers,
      [`impliedFor${CORES}CoresPerSecond`]: Math.round((CORES * 1e6) / entry.cpuMicros),
      ...(against === null ? {} : { cpuAgainstFirst: Math.round((entry.cpuMicros / against) * 100) / 100 }),
    },
    notes: [
      ...entry.notes,
      `impliedFor${CORES}CoresPerSecond is arithmetic, not a measurement: ${CORES} cores / CPU of a decision here, the generators elsewhere`,
      `${CONNECTIONS_A_LANE} connections for each shard of each process`,
    ],
  };
};

const row = async (
  bench: Bench,
  entries: Record<string, Entry>,
  values: readonly number[],
  name: (value: number) => string,
  run: (value: number) => Promise<Entry>,
): Promise<void> => {
  let first: Entry | undefined;
  for (const value of values) {
    if (!bench.wants(name(value))) continue;
    const entry = await run(value);
    if (value === values[0]) first = entry;
    entries[name(value)] = implied(entry, first);
  }
};

export const scale: Scenario = {
  entries: [...SHARDS.map(byShards), ...PROCESSES.map(byProcesses)],
  run: async (bench, entries) => {
    await row(bench, entries, SHARDS, byShards, (shards) => measure(bench, shards, 0));
    await row(bench, entries, PROCESSES, byProcesses, (processes) => measure(bench, PROCESS_SHARDS, processes));
  },
};
