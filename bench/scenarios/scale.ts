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
export const CONNECTIONS_A_LANE = 128;
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

/** A gateway with so many shards and processes; 0 processes = one a core. */
interface House {
  readonly shards: number;
  readonly processes: number;
}

const connectionsOf = ({ shards, processes }: House): number =>
  CONNECTIONS_A_LANE * shards * (processes === 0 ? availableParallelism() : processes);
const nameOf = ({ shards, processes }: House): string =>
  `${shards} shards (a Redis each), ${processes === 0 ? "one gateway process a core" : `${processes} gateway processes`}`;

/** Opens it, and makes it warm. */
const open = async (bench: Bench, house: House): Promise<{ front: Front; run: () => Promise<Trial> }> => {
  bench.step(nameOf(house));
  const front = await startFront({ ...bench, say: (line) => bench.step(line), ...house, appendfsync: "always" });
  await front.openSale(SALE, UNITS);
  const run = (seconds: number): Promise<Trial> => load(bench, front, connectionsOf(house), seconds);
  await run(WARM_UP_S);
  return { front, run: () => run(bench.runSeconds) };
};

/** @param first the smallest of the row: what disturbs the machine for a while has to disturb both */
const measure = async (bench: Bench, house: House, first: House | undefined): Promise<Entry> => {
  const fronts: Front[] = [];
  const opened = async (one: House): ReturnType<typeof open> => {
    const { front, run } = await open(bench, one);
    fronts.push(front);
    return { front, run };
  };
  try {
    const reference = first && (await opened(first)).run;
    const { front, run: ours } = await opened(house);
    const before = await front.calls();
    const outcome = await interleaved({ runs: bench.runs, ours, reference });
    const after = await front.calls();
    const counted = outcome.runs.reduce((sum, { perSecond }) => sum + perSecond * bench.runSeconds, 0);
    const micros = (program: string): number => Math.round(((outcome.cpuSeconds[program] ?? 0) / counted) * 1e7) / 10;
    const { cpuMicros, referenceCpuMicros } = outcome;
    return entryOf({
      ...outcome,
      what: `decisions over HTTP, all won, ${nameOf(house)}`,
      unit: "decisions",
      reference: first === undefined ? null : nameOf(first),
      generator: generatorOf(bench, { connections: connectionsOf(house), pipelining: 1 }),
      durability: "Redis appendfsync always",
      numbers: {
        gatewayMicrosPerDecision: micros("gateway"),
        redisMicrosPerDecision: micros("redis"),
        purchasesPerCall: Math.round((after.purchases - before.purchases) / (after.calls - before.calls)),
        ...(cpuMicros === null ? {} : { [`impliedFor${CORES}CoresPerSecond`]: Math.round((CORES * 1e6) / cpuMicros) }),
        ...(cpuMicros === null || referenceCpuMicros === null
          ? {}
          : { cpuAgainstFirst: Math.round((cpuMicros / referenceCpuMicros) * 100) / 100 }),
      },
      notes: [
        `impliedFor${CORES}CoresPerSecond is arithmetic, not a measurement: ${CORES} cores / CPU of a decision here, the generators elsewhere`,
        `${CONNECTIONS_A_LANE} connections for each shard of each process`,
      ],
    });
  } finally {
    for (const front of fronts) await front.stop();
  }
};

const row = async (
  bench: Bench,
  entries: Record<string, Entry>,
  values: readonly number[],
  name: (value: number) => string,
  house: (value: number) => House,
): Promise<void> => {
  for (const [place, value] of values.entries())
    if (bench.wants(name(value)))
      entries[name(value)] = await measure(bench, house(value), place === 0 ? undefined : house(values[0] as number));
};

export const scale: Scenario = {
  entries: [...SHARDS.map(byShards), ...PROCESSES.map(byProcesses)],
  run: async (bench, entries) => {
    await row(bench, entries, SHARDS, byShards, (shards) => ({ shards, processes: 0 }));
    await row(bench, entries, PROCESSES, byProcesses, (processes) => ({ shards: PROCESS_SHARDS, processes }));
  },
};
