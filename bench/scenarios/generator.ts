import { beginRun } from "../../deploy/local/index.ts";
import { GENERATOR } from "../load/generator.ts";
import { latency, latencyCurve } from "../load/latency.ts";
import { sendByGenerator, sendByWrk, type Load } from "../load/send.ts";
import { wrkCommand } from "../load/wrk.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { startBare, type Bare } from "../servers/bare.ts";
import { interleaved } from "../trials.ts";
import { LATENCY_ARRIVALS } from "./against-bare.ts";

/**
 * What the bench's own generator can send at most, and what it adds to a latency: against a server that does nothing. No
 * entry that it loads can be faster, and no latency that it measures smaller.
 */
const ENTRY = "generator";
const CONNECTIONS = 64;
const WARM_UP_S = 1;
const ANSWER = { head: "200 OK\r\nContent-Type: application/json", body: '{"code":"nothing"}' };

const measure = async (bench: Bench, bare: Bare, folder: string): Promise<Entry> => {
  const load = (seconds: number): Load => ({
    host: bare.host,
    port: bare.port,
    requests: { kind: "same", method: "POST", path: "/buy/nothing" },
    connections: CONNECTIONS,
    pipelining: 1,
    seconds,
  });
  bench.step("the generator by itself");
  await sendByGenerator(load(WARM_UP_S), bare.watched);
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => sendByGenerator(load(bench.runSeconds), bare.watched),
    reference: bench.wrk === undefined ? undefined : () => sendByWrk(load(bench.runSeconds), bare.watched, folder),
  });
  const wrk = wrkCommand({ connections: CONNECTIONS, pipelining: 1 });
  bench.ceiling(GENERATOR, outcome.perSecond);
  if (outcome.referencePerSecond !== null) bench.ceiling(wrk, outcome.referencePerSecond);
  bench.goOn();
  const floor = await latency(load(bench.runSeconds), LATENCY_ARRIVALS, bare.watched);
  return entryOf({
    ...outcome,
    what: "the bench's own generator against one bare uWebSockets.js process; latency: the least that it can show",
    unit: "answers",
    reference: bench.wrk === undefined ? null : `${wrk}, same server`,
    generator: GENERATOR,
    latencyPerSecond: LATENCY_ARRIVALS,
    p50Ms: floor.p50Ms,
    p99Ms: floor.p99Ms,
    curves: [latencyCurve([{ name: "generator and bare server", latency: floor }])],
  });
};

export const generator: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const run = await beginRun({ environment: bench.environment, say: () => undefined });
    try {
      entries[ENTRY] = await measure(bench, await startBare(run, ANSWER, 1), run.folder);
    } finally {
      await run.end();
    }
  },
};
