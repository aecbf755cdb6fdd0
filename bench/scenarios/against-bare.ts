import { latency, latencyCurve } from "../load/latency.ts";
import { generatorOf, send, type Sent, type Load } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench } from "../scenario.ts";
import type { Bare } from "../servers/bare.ts";
import type { Front } from "../servers/front.ts";
import { expectAnswered, answeredSince } from "../servers/answered.ts";
import { interleaved } from "../trials.ts";
import { memoryOf, type Watched } from "../usage.ts";

/** One request that is answered in the tick in which it comes, sent again and again to the engine and to a bare server. */
export interface Repeated {
  readonly bench: Bench;
  readonly front: Front;
  readonly bare: Bare;
  readonly watched: Watched;
  /** for the progress line */
  readonly name: string;
  readonly what: string;
  readonly unit: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** the gateway's own count must show nothing else; undefined: it does not count these */
  readonly code: string | undefined;
  /** the answers have a status above 399 */
  readonly isRefusal: boolean;
}

export const CONNECTIONS = 64;
const WARM_UP_S = 1;
/** Part of the counted answers that must be the one meant; the rest are those tokens, many only where the machine is very slow. */
const LEAST_MEANT = 0.98;
/** The latencies are taken at half of the peak, but not at more than half of what the generator itself can send. */
export const LATENCY_ARRIVALS = 15_000;
/** A few tokens come back to a bucket in the meantime: of each process 5 a second, and 10 that were there. */
const tokensOf = (seconds: number): number => 10 + 2 * 5 * seconds;

export const BARE = "bare uWebSockets.js, the same bytes, as many processes";

/** @throws Error if more than a few answers were of the other kind */
export const checked = (sent: Sent, isRefusal: boolean): Sent => {
  const others = isRefusal ? sent.count - sent.refused : sent.refused;
  if (others > tokensOf(sent.seconds)) throw new Error(`${others} of ${sent.count} answers were ${isRefusal ? "no " : ""}refusals`);
  return sent;
};

/** @param pipelining requests on their way on each connection */
export const againstBare = async (repeated: Repeated, pipelining: number): Promise<Entry> => {
  const { bench, front, bare, watched, name, method, path, code, isRefusal } = repeated;
  const how = pipelining > 1 ? `${pipelining} on their way on each connection` : "one at a time on each connection";
  const load = (port: number, seconds: number): Load => ({
    host: front.host,
    port,
    requests: { kind: "same", method, path },
    connections: CONNECTIONS,
    pipelining,
    seconds,
  });
  const side = async (who: string, port: number, pids: Watched, seconds: number): Promise<Sent> => {
    bench.step(`${name}, ${how}: ${who}`);
    return checked(await send(bench, load(port, seconds), pids, front.run.folder), isRefusal);
  };
  await side("warm-up", front.port, watched, WARM_UP_S);
  await side("warm-up of the reference", bare.port, bare.watched, WARM_UP_S);
  const before = await front.answered();
  const outcome = await interleaved({
    runs: bench.runs,
    ours: () => side("ours", front.port, watched, bench.runSeconds),
    reference: () => side("bare", bare.port, bare.watched, bench.runSeconds),
  });
  if (code !== undefined) expectAnswered(answeredSince(await front.answered(), before), [code], LEAST_MEANT);
  const generator = generatorOf(bench, { connections: CONNECTIONS, pipelining });
  bench.ceiling(generator, outcome.referencePerSecond ?? 0);
  const entry = entryOf({
    ...outcome,
    what: `${repeated.what}; ${how}`,
    unit: repeated.unit,
    reference: BARE,
    generator,
    memoryBytes: await memoryOf(watched),
  });
  if (pipelining > 1) return entry;
  const perSecond = Math.min(outcome.perSecond / 2, LATENCY_ARRIVALS);
  bench.step(`${name}: latency at ${Math.round(perSecond)} a second`);
  const mine = await latency(load(front.port, bench.runSeconds), perSecond, watched);
  const theirs = await latency(load(bare.port, bench.runSeconds), perSecond, bare.watched);
  return {
    ...entry,
    latencyPerSecond: perSecond,
    p50Ms: mine.p50Ms,
    p99Ms: mine.p99Ms,
    referenceP50Ms: theirs.p50Ms,
    referenceP99Ms: theirs.p99Ms,
    curves: [
      latencyCurve([
        { name: "ours", latency: mine },
        { name: "bare", latency: theirs },
      ]),
    ],
  };
};
