import { setTimeout as delay } from "node:timers/promises";
import { latency, latencyCurve } from "../load/latency.ts";
import { generatorOf, send, type Load } from "../load/send.ts";
import { entryOf, type Curve, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { interleaved, type Trial } from "../trials.ts";
import { cpuOf, memoryOf, minus } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** From the buyer's request to the committed row, everything on one machine, the generator too. */
const ENTRY = "orders";
const UNITS = 100_000_000;
const CONNECTIONS = 128;
const BUYERS_A_SECOND = 80_000;
const WARM_UP_S = 2;
/** Held answers of `Prefer: wait`: arrivals a second times seconds until the commit, and some. */
const HELD_CONNECTIONS = 2_000;
const SAMPLE_MS = 100;

interface Committed {
  readonly atMs: number;
  readonly orders: number;
}

/** Looks at Postgres now and then until it is ended. */
const sampleOrders = (whole: Whole, saleId: string): { readonly seen: readonly Committed[]; end(): Promise<void> } => {
  const seen: Committed[] = [];
  const ended = new AbortController();
  const looking = (async (): Promise<void> => {
    while (!ended.signal.aborted) {
      seen.push({ atMs: performance.now(), orders: await whole.sold(saleId) });
      await delay(SAMPLE_MS);
    }
  })();
  return {
    seen,
    end: async () => {
      ended.abort();
      await looking;
    },
  };
};

interface Run extends Trial {
  readonly seen: readonly Committed[];
  readonly beganAtMs: number;
  /** reserved and not yet stored when the load ended */
  readonly backlog: number;
}

/** Load, then drain: the time counts until the last order is committed, so nothing is left to be paid later. */
const runOnce = async (bench: Bench, whole: Whole, saleId: string, seconds: number): Promise<Run> => {
  await whole.openSale(saleId, UNITS);
  const watched = await whole.watched();
  const before = await cpuOf(watched);
  const samples = sampleOrders(whole, saleId);
  const beganAtMs = performance.now();
  try {
    const load: Load = {
      host: whole.host,
      port: whole.port,
      requests: newBuyers(whole.ticketKeys, saleId, BUYERS_A_SECOND * seconds),
      connections: CONNECTIONS,
      pipelining: 1,
      seconds,
    };
    const sent = await send(bench, load, watched, whole.folder);
    if (sent.refused > 0) throw new Error(`${sent.refused} of ${sent.count} buyers were refused`);
    const backlog = sent.count - (await whole.sold(saleId));
    const loadEndedAtMs = performance.now();
    await whole.untilSold(saleId, sent.count);
    const drainedMs = performance.now() - loadEndedAtMs;
    const cpuSeconds = { ...minus(await cpuOf(watched), before), generator: sent.cpuSeconds["generator"] ?? 0 };
    return { count: sent.count, seconds: sent.seconds + drainedMs / 1_000, cpuSeconds, seen: samples.seen, beganAtMs, backlog };
  } finally {
    await samples.end();
  }
};

const overTime = ({ seen, beganAtMs }: Run): Curve => ({
  title: "orders committed over time",
  x: "seconds",
  y: "orders",
  lines: [{ name: "in Postgres", points: seen.map(({ atMs, orders }): [number, number] => [(atMs - beganAtMs) / 1_000, orders]) }],
});

const measure = async (bench: Bench, whole: Whole): Promise<Entry> => {
  bench.step("warm-up");
  await runOnce(bench, whole, "orders-warm", WARM_UP_S);
  let last: Run | undefined;
  const outcome = await interleaved({
    runs: bench.runs,
    ours: async (run) => {
      bench.step(`run ${run + 1} of ${bench.runs}`);
      last = await runOnce(bench, whole, `orders-${run}`, bench.runSeconds);
      return last;
    },
    reference: undefined,
  });
  const perSecond = outcome.perSecond / 2;
  bench.step(`latency to confirmed at ${Math.round(perSecond)} a second`);
  await whole.openSale("orders-held", UNITS);
  const watched = await whole.watched();
  const load = (count: number, headers: string): Load => ({
    host: whole.host,
    port: whole.port,
    requests: newBuyers(whole.ticketKeys, "orders-held", count, headers),
    connections: HELD_CONNECTIONS,
    pipelining: 1,
    seconds: bench.runSeconds,
  });
  const arrivals = Math.ceil(perSecond * (bench.runSeconds + 2));
  const confirmed = await latency(load(arrivals, "Prefer: wait=30\r\n"), perSecond, watched);
  const { "201": committed = 0, ...others } = confirmed.result.answered;
  if (Object.keys(others).length > 0) throw new Error(`held answers were to be 201, there were ${committed} and ${JSON.stringify(others)}`);
  const micros = Object.entries(outcome.cpuSeconds).map(([program, seconds]): [string, number] => [
    `${program}MicrosPerOrder`,
    Math.round((seconds / outcome.runs.length / (last?.count ?? 1)) * 1e7) / 10,
  ]);
  return entryOf({
    ...outcome,
    what: "a new buyer buys over HTTP; counted when his order is committed in Postgres, the time until the last one is",
    unit: "orders",
    generator: generatorOf(bench, { connections: CONNECTIONS, pipelining: 1 }),
    latencyPerSecond: perSecond,
    p50Ms: confirmed.p50Ms,
    p99Ms: confirmed.p99Ms,
    memoryBytes: await memoryOf(watched),
    durability: "told reserved: Redis appendfsync always; counted: Postgres committed, synchronous_commit on",
    numbers: { ...Object.fromEntries(micros), backlogAtEnd: last?.backlog ?? 0 },
    notes: ["latency is from the intended start to `201 confirmed` of held answers (Prefer: wait)"],
    curves: [latencyCurve([{ name: "confirmed", latency: confirmed }]), ...(last === undefined ? [] : [overTime(last)])],
  });
};

export const orders: Scenario = {
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
