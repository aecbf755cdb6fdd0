import type { Entry } from "./results.ts";

/** A line of DESIGN 14. */
interface Target {
  readonly entry: string;
  readonly what: string;
  readonly of: (entry: Entry) => number | null | undefined;
  readonly bound: "at least" | "at most";
  readonly value: number;
}

const ratio = ({ ratio }: Entry): number | null => ratio;
const perSecond = ({ perSecond }: Entry): number => perSecond;
const p99Ms = ({ p99Ms }: Entry): number | null => p99Ms;
const number =
  (name: string) =>
  ({ numbers }: Entry): number | undefined =>
    numbers[name];

/** DESIGN 14, as far as one entry can tell. */
export const TARGETS: readonly Target[] = [
  { entry: "refuse.soldOut", what: "of bare uWS, pipelined", of: ratio, bound: "at least", value: 0.8 },
  { entry: "refuse.soldOut.single", what: "of bare uWS, one at a time", of: ratio, bound: "at least", value: 0.8 },
  { entry: "refuse.autocannon", what: "refusals a second", of: perSecond, bound: "at least", value: 100_000 },
  { entry: "decide.always", what: "of bare uWS", of: ratio, bound: "at least", value: 0.5 },
  { entry: "decide.always", what: "ms, p99 at half of the peak", of: p99Ms, bound: "at most", value: 10 },
  { entry: "shard.batch256", what: "times one EVALSHA a buy", of: ratio, bound: "at least", value: 8 },
  { entry: "shard.batch256", what: "decisions a second", of: perSecond, bound: "at least", value: 300_000 },
  { entry: "orders", what: "orders a second", of: perSecond, bound: "at least", value: 20_000 },
  { entry: "orders", what: "ms to confirmed, p99 at half of the peak", of: p99Ms, bound: "at most", value: 100 },
  { entry: "peer.dtm", what: "times dtm's wins", of: ratio, bound: "at least", value: 15 },
  { entry: "peer.dtm.refusals", what: "times dtm's refusals", of: ratio, bound: "at least", value: 30 },
  { entry: "scale.4", what: "times the CPU of one shard", of: number("cpuAgainstFirst"), bound: "at most", value: 1.1 },
  { entry: "crowd", what: "bytes of Redis for a refused buyer", of: number("redisBytesPerRefusedBuyer"), bound: "at most", value: 0 },
  { entry: "crowd", what: "bytes of Redis for a winner", of: number("redisBytesPerWinner"), bound: "at most", value: 150 },
];

export interface Judged {
  readonly entry: string;
  readonly isReached: boolean;
  /** e.g. `decide.always: 0.47 of bare uWS, target at least 0.5` */
  readonly text: string;
}

const shown = (value: number): string =>
  value >= 1_000 ? Math.round(value).toLocaleString("en-US") : String(Math.round(value * 100) / 100);

/** Judges what was measured against the targets. */
export const judgeTargets = (scenarios: Readonly<Record<string, Entry>>, targets = TARGETS): readonly Judged[] =>
  targets.flatMap(({ entry, what, of, bound, value }): Judged[] => {
    const measured = scenarios[entry];
    const seen = measured === undefined ? undefined : of(measured);
    if (seen === undefined || seen === null) return [];
    const isReached = bound === "at least" ? seen >= value : seen <= value;
    return [{ entry, isReached, text: `${entry}: ${shown(seen)} ${what}, target ${bound} ${shown(value)}` }];
  });
