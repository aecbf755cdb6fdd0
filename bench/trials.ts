import { median, spread } from "./statistics.ts";
import type { Entry } from "./results.ts";
import { plus, total, type CpuSeconds } from "./usage.ts";

/** One measured run of one side. */
export interface Trial {
  readonly seconds: number;
  /** answers, decisions, orders: what the entry's unit says */
  readonly count: number;
  /** of the watched programs and `generator` */
  readonly cpuSeconds: CpuSeconds;
}

export interface Sides {
  readonly runs: number;
  readonly ours: (run: number) => Promise<Trial>;
  readonly reference: ((run: number) => Promise<Trial>) | undefined;
}

export type Compared = Pick<
  Entry,
  | "perSecond"
  | "referencePerSecond"
  | "ratio"
  | "spread"
  | "runs"
  | "cpuSeconds"
  | "referenceCpuSeconds"
  | "cpuMicros"
  | "referenceCpuMicros"
  | "generatorBusy"
>;

const MICROS = 1e6;
const rate = (trial: Trial): number => trial.count / trial.seconds;
const countOf = (trials: readonly Trial[]): number => trials.reduce((sum, { count }) => sum + count, 0);
const secondsOf = (trials: readonly Trial[]): number => trials.reduce((sum, { seconds }) => sum + seconds, 0);
const cpuOf = (trials: readonly Trial[]): CpuSeconds => trials.reduce<CpuSeconds>((sum, { cpuSeconds }) => plus(sum, cpuSeconds), {});

/** CPU of everything but the generator, microseconds for one. */
const microsOf = (trials: readonly Trial[]): number | null => {
  const { generator: _generator, ...programs } = cpuOf(trials);
  const count = countOf(trials);
  return count === 0 ? null : (total(programs) / count) * MICROS;
};

/** What a row of runs says, pair by pair: what disturbs the machine for a while disturbs both sides of a pair. */
export const compared = (ours: readonly Trial[], reference: readonly Trial[]): Compared => {
  const rates = ours.map(rate);
  const references = reference.map(rate);
  const ratios = references.map((other, run) => (rates[run] as number) / other);
  const cpuSeconds = cpuOf(ours);
  const generator = cpuSeconds["generator"];
  return {
    perSecond: median(rates),
    referencePerSecond: references.length === 0 ? null : median(references),
    ratio: ratios.length === 0 ? null : median(ratios),
    spread: spread(ratios.length === 0 ? rates : ratios),
    runs: rates.map((perSecond, run) => ({
      perSecond,
      referencePerSecond: references[run] ?? null,
      cpuMicros: microsOf(ours.slice(run, run + 1)),
      referenceCpuMicros: microsOf(reference.slice(run, run + 1)),
    })),
    cpuSeconds,
    referenceCpuSeconds: cpuOf(reference),
    cpuMicros: microsOf(ours),
    referenceCpuMicros: reference.length === 0 ? null : microsOf(reference),
    generatorBusy: generator === undefined ? null : generator / secondsOf(ours),
  };
};

/** What one costs in CPU against the reference, by the pairs of runs as `ratio` is; null where a run has no pair. */
export const cpuRatio = (runs: Entry["runs"]): number | null => {
  const ratios = runs.flatMap(({ cpuMicros, referenceCpuMicros }) =>
    cpuMicros === null || referenceCpuMicros === null ? [] : [cpuMicros / referenceCpuMicros],
  );
  return ratios.length === 0 || ratios.length < runs.length ? null : median(ratios);
};

/** Runs both sides in turn, the one that begins changing from pair to pair. */
export const interleaved = async ({ runs, ours, reference }: Sides): Promise<Compared> => {
  const mine: Trial[] = [];
  const theirs: Trial[] = [];
  for (let run = 0; run < runs; run += 1) {
    if (reference === undefined) mine.push(await ours(run));
    else if (run % 2 === 0) {
      mine.push(await ours(run));
      theirs.push(await reference(run));
    } else {
      theirs.push(await reference(run));
      mine.push(await ours(run));
    }
  }
  return compared(mine, theirs);
};
