import { generatorOf, send, type Load } from "../load/send.ts";
import type { Pause } from "../load/order.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { confine, NotConfined, type CpuShare } from "../servers/cpu-share.ts";
import { startFront, type Front } from "../servers/front.ts";
import { cpuRatio, interleaved, type Trial } from "../trials.ts";
import { newBuyers } from "./buyers.ts";

/**
 * What a decision costs with more shards, and with more gateway processes. The crowd is the same for all of a row, because
 * it costs the gateway more than the shards do: its connections fill the caches, and by it calls are as large as they are.
 */
const SALE = "scale";
const UNITS = 100_000_000;
const BUYERS_A_SECOND = 80_000;
const WARM_UP_S = 1;
/** The machine that the arithmetic is done for. */
const CORES = 16;

interface Setup {
  readonly shards: number;
  /** of the gateway */
  readonly processes: number;
  /** connections, each with one purchase at a time */
  readonly crowd: number;
  /** nobody pauses: the connections come in one and the same order for ever */
  readonly isOrdered?: boolean;
  /** of a core, for each Redis: as if all others had cores of their own and the shards were what is short */
  readonly redisShare?: number;
}

interface Row {
  readonly name: string;
  /** each but 1 is measured in turns with 1 */
  readonly values: readonly number[];
  /** Its figure is judged by a few hundredths, and one pair is a few hundredths off; in short runs only some have paused. */
  readonly least?: { readonly runs: number; readonly runSeconds: number };
  readonly setup: (value: number) => Setup;
}

const CROWD = 8_192;
/**
 * Without it one shard looks cheaper than it is: it answers in the order in which it was asked, so the same connections come one after
 * the other for ever, and find each other's memory warm. Two shards shuffle them, and so does a real crowd. `scale.ordered` shows it.
 */
const PAUSE: Pause = { share: 0.2, mostMs: 60 };
const CAREFUL = { runs: 8, runSeconds: 4 };
const ROWS: readonly Row[] = [
  { name: "scale.", values: [1, 2, 4, 8], least: CAREFUL, setup: (shards) => ({ shards, processes: 1, crowd: CROWD }) },
  { name: "scale.ordered.", values: [4, 8], least: CAREFUL, setup: (shards) => ({ shards, processes: 1, crowd: CROWD, isOrdered: true }) },
  // of so few buyers those who paused would be missed
  { name: "scale.few.", values: [1, 2, 4, 8], setup: (shards) => ({ shards, processes: 1, crowd: 256, isOrdered: true }) },
  { name: "scale.slow.", values: [2, 4, 8], setup: (shards) => ({ shards, processes: 1, crowd: 4_096, redisShare: 0.02 }) },
  { name: "scale.processes", values: [1, 2, 4], setup: (processes) => ({ shards: 2, processes, crowd: CROWD }) },
];

const nameOf = ({ shards, processes, redisShare }: Setup): string =>
  `${shards} shards (a Redis each${redisShare === undefined ? "" : `, with ${redisShare} of a core`}), ${processes} gateway processes`;

/** What is measured, and what has to be ended after it. */
interface Opened {
  readonly front: Front;
  readonly run: () => Promise<Trial>;
  readonly end: () => Promise<void>;
}

const loadOf = ({ crowd, isOrdered }: Setup): Pick<Load, "connections" | "pipelining" | "pause"> => ({
  connections: crowd,
  pipelining: 1,
  pause: isOrdered === true ? undefined : PAUSE,
});

const loadSetup = async (bench: Bench, front: Front, setup: Setup, seconds: number): Promise<Trial> => {
  const requests = newBuyers(front.ticketKeys, SALE, BUYERS_A_SECOND * seconds);
  const load: Load = { host: front.host, port: front.port, requests, seconds, ...loadOf(setup) };
  const sent = await send(bench, load, await front.watched(), front.run.folder);
  if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} buyers were refused`);
  return sent;
};

/** Opens it, and makes it warm. @throws NotConfined if the Redis servers cannot be slowed down here */
const open = async (bench: Bench, setup: Setup, runSeconds: number): Promise<Opened> => {
  const { shards, processes, redisShare } = setup;
  bench.step(nameOf(setup));
  const say = (line: string): void => bench.step(line);
  const front = await startFront({ environment: bench.environment, say, shards, processes, appendfsync: "always" });
  let share: CpuShare | undefined;
  const end = async (): Promise<void> => {
    await front.stop();
    await share?.end();
  };
  const run = (seconds: number): Promise<Trial> => loadSetup(bench, front, setup, seconds);
  try {
    await front.openSale(SALE, UNITS);
    if (redisShare !== undefined) share = await confine((await front.watched())["redis"] ?? [], redisShare);
    await run(WARM_UP_S);
  } catch (error) {
    await end();
    throw error;
  }
  return { front, run: () => run(runSeconds), end };
};

/** @param first the setup of 1: what disturbs the machine for a while has to disturb both */
const measure = async (bench: Bench, { least }: Row, setup: Setup, first: Setup | undefined): Promise<Entry> => {
  const runs = Math.max(bench.runs, least?.runs ?? 0);
  const runSeconds = Math.max(bench.runSeconds, least?.runSeconds ?? 0);
  const reference = first && (await open(bench, first, runSeconds));
  let ours: Opened | undefined;
  try {
    ours = await open(bench, setup, runSeconds);
    const { front } = ours;
    const before = await front.calls();
    const outcome = await interleaved({ runs, ours: ours.run, reference: reference?.run });
    const after = await front.calls();
    const counted = outcome.runs.reduce((sum, { perSecond }) => sum + perSecond * runSeconds, 0);
    const micros = (program: string): number => Math.round(((outcome.cpuSeconds[program] ?? 0) / counted) * 1e7) / 10;
    const { cpuMicros } = outcome;
    const against = cpuRatio(outcome.runs);
    return entryOf({
      ...outcome,
      what: `decisions over HTTP, all won, ${nameOf(setup)}`,
      unit: "decisions",
      reference: first === undefined ? null : nameOf(first),
      generator: generatorOf(bench, loadOf(setup)),
      durability: "Redis appendfsync always",
      numbers: {
        gatewayMicrosPerDecision: micros("gateway"),
        redisMicrosPerDecision: micros("redis"),
        purchasesPerCall: Math.round((after.purchases - before.purchases) / (after.calls - before.calls)),
        ...(cpuMicros === null || setup.redisShare !== undefined
          ? {}
          : { [`impliedFor${CORES}CoresPerSecond`]: Math.round((CORES * 1e6) / cpuMicros) }),
        ...(against === null ? {} : { cpuAgainstFirst: Math.round(against * 100) / 100 }),
      },
      notes:
        setup.redisShare === undefined
          ? [
              `impliedFor${CORES}CoresPerSecond is arithmetic, not a measurement: ${CORES} cores / CPU of a decision here, the generators elsewhere`,
            ]
          : [],
    });
  } finally {
    await ours?.end();
    await reference?.end();
  }
};

export const scale: Scenario = {
  entries: ROWS.flatMap(({ name, values }) => values.map((value) => `${name}${value}`)),
  run: async (bench, entries) => {
    for (const row of ROWS)
      for (const value of row.values) {
        const { name, setup } = row;
        const entry = `${name}${value}`;
        if (!bench.wants(entry)) continue;
        try {
          entries[entry] = await measure(bench, row, setup(value), value === 1 ? undefined : setup(1));
        } catch (error) {
          if (!(error instanceof NotConfined)) throw error;
          bench.skip(`${entry}: ${error.message}`);
        }
      }
  },
};
