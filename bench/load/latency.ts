import { decodeFromCompressedBase64, type Histogram } from "hdr-histogram-js";
import type { Curve } from "../results.ts";
import type { Watched } from "../usage.ts";
import { generate } from "./generator.ts";
import { answersOf, type LoadResult } from "./order.ts";
import { orderOf, type Load } from "./send.ts";

/** Latencies at a fixed arrival rate. */
export interface Latency {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly histogram: Histogram;
  readonly result: LoadResult;
}

const WARM_UP_MS = 1_000;
/** Of the requests; more without an answer is no measurement. */
const MOST_FAILED = 0.001;

const ms = (micros: number): number => Math.round(micros) / 1_000;

/** Open loop: `perSecond` arrivals whatever happens, each counted from the moment at which it was meant to start. */
export const latency = async (load: Load, perSecond: number, watched: Watched): Promise<Latency> => {
  const { result } = await generate(orderOf(load, WARM_UP_MS, perSecond), watched);
  if (result.failed > answersOf(result) * MOST_FAILED)
    throw new Error(`${result.failed} of ${result.sent} requests had no answer at ${Math.round(perSecond)} a second`);
  const histogram = decodeFromCompressedBase64(result.latency);
  return { perSecond, p50Ms: ms(histogram.getValueAtPercentile(50)), p99Ms: ms(histogram.getValueAtPercentile(99)), histogram, result };
};

const PERCENTILES = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99];

/** Latency distributions as the report draws them: x is 1 / (1 - part), so that each further nine takes the same room. */
export const latencyCurve = (lines: readonly { readonly name: string; readonly latency: Latency }[]): Curve => ({
  title: "latency, open loop",
  x: "percentile",
  y: "ms",
  lines: lines.map(({ name, latency: { histogram } }) => ({
    name,
    points: PERCENTILES.map((percentile): [number, number] => [percentile, ms(histogram.getValueAtPercentile(percentile))]),
  })),
});

const TENTHS = 10;

/** Answers a second over the time of the load. */
export const throughputCurve = (lines: readonly { readonly name: string; readonly result: LoadResult }[]): Curve => ({
  title: "throughput over time",
  x: "seconds",
  y: "a second",
  lines: lines.map(({ name, result }) => ({
    name,
    points: result.tenths.map((count, tenth): [number, number] => [(tenth + 1) / TENTHS, count * TENTHS]),
  })),
});
