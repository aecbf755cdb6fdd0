import type { Entry } from "./results.ts";

/** One number that a row of DESIGN 14 is judged by. */
interface Measure {
  readonly entry: string;
  /** which of the row's numbers this is; the row's own words where it has one only */
  readonly name: string;
  readonly of: (entry: Entry) => number | null | undefined;
  readonly bound: "at least" | "at most";
  readonly value: number;
  readonly unit: Unit;
  /** what a profile showed to stand in the way; printed where the number is missed */
  readonly limit?: string;
}

type Unit = "times" | "part" | "a second" | "ms" | "B";

/** The languages that the front page is written in. */
export type Language = "en" | "zh";
type Front = Readonly<Record<Language, string>>;

/** A row of DESIGN 14. */
interface Row {
  readonly what: string;
  /** the same in at most 60 characters, for the front pages; rows without it are only on the bench's page */
  readonly front?: Front;
  readonly measures: readonly Measure[];
}

const ratio = ({ ratio }: Entry): number | null => ratio;
const perSecond = ({ perSecond }: Entry): number => perSecond;
const p99Ms = ({ p99Ms }: Entry): number | null => p99Ms;
const number =
  (name: string) =>
  ({ numbers }: Entry): number | undefined =>
    numbers[name];

const DTM = "its client keeps 256 idle connections here, which it does not by itself; and ours also commits the order in Postgres";
const WHOLE =
  "its handler stores no order, which is `decide.always`; ours also carries each into Postgres, and relay, NATS, workers and Postgres share these cores";
const SHARED = "two gateway processes, Redis and the generator share the cores at that rate";

const READING = "reading path and headers alone leaves what `refuse.reading` shows; looking the buyer up costs the rest";
const SIGNATURE =
  "asking for the address and computing an HMAC alone leave what `refuse.signing` shows; the limit of an address bounds how often";

const refusal = (entry: string, name: string, limit: string): readonly Measure[] => [
  { entry, name: `${name}, 16 pipelined`, of: ratio, bound: "at least", value: 0.8, unit: "part", limit },
  { entry: `${entry}.single`, name: `${name}, one at a time`, of: ratio, bound: "at least", value: 0.8, unit: "part", limit },
];

const shards = (count: number): Measure => ({
  entry: `scale.${count}`,
  name: `${count} shards`,
  of: number("cpuAgainstFirst"),
  bound: "at most",
  value: 1.1,
  unit: "times",
});

/** DESIGN 14, row by row. */
export const TARGETS: readonly Row[] = [
  {
    what: "refusals, of bare uWebSockets.js with the same bytes",
    front: { en: "refusals, of a bare uWebSockets.js", zh: "拒绝请求，与裸 uWebSockets.js 之比" },
    measures: [
      ...refusal("refuse.soldOut", "sold out", READING),
      ...refusal("refuse.rateLimited", "rate limited", READING),
      ...refusal("refuse.badTicket", "forged ticket", SIGNATURE),
    ],
  },
  {
    what: "refusals by autocannon, sharing the machine with it",
    front: { en: "refusals by autocannon", zh: "autocannon 压测下的拒绝请求" },
    measures: [{ entry: "refuse.autocannon", name: "", of: perSecond, bound: "at least", value: 100_000, unit: "a second" }],
  },
  {
    what: "decisions over HTTP, all won, on disk before the answer, of bare uWebSockets.js",
    front: { en: "wins on disk before the answer, of bare uWS", zh: "抢购成功（先落盘后应答），与裸 uWS 之比" },
    measures: [{ entry: "decide.always", name: "", of: ratio, bound: "at least", value: 0.5, unit: "part" }],
  },
  {
    what: "decisions of one Redis shard in batches of 256, on disk before the answer",
    front: { en: "a Redis shard, against an EVALSHA a buy; sum", zh: "单个 Redis 分片：与逐笔 EVALSHA 之比；总量" },
    measures: [
      { entry: "shard.batch256", name: "against one EVALSHA a buy", of: ratio, bound: "at least", value: 8, unit: "times" },
      { entry: "shard.batch256", name: "", of: perSecond, bound: "at least", value: 300_000, unit: "a second" },
    ],
  },
  {
    what: "bought and committed in Postgres, whole system and generator on this machine",
    front: { en: "bought and committed in Postgres", zh: "从下单到写入 Postgres" },
    measures: [{ entry: "orders", name: "", of: perSecond, bound: "at least", value: 20_000, unit: "a second" }],
  },
  {
    what: "the work of dtm's flash-sale benchmark, against dtm as it ships",
    front: { en: "dtm's own benchmark: refusals; wins", zh: "dtm 自己的秒杀压测：拒绝；成功" },
    measures: [
      { entry: "peer.dtm.shipped.refusals", name: "refusals", of: ratio, bound: "at least", value: 30, unit: "times" },
      { entry: "peer.dtm.shipped", name: "wins", of: ratio, bound: "at least", value: 15, unit: "times", limit: WHOLE },
    ],
  },
  {
    what: "the work of dtm's flash-sale benchmark, against dtm with a tuned client",
    measures: [
      { entry: "peer.dtm.refusals", name: "refusals", of: ratio, bound: "at least", value: 30, unit: "times", limit: DTM },
      { entry: "peer.dtm", name: "wins", of: ratio, bound: "at least", value: 15, unit: "times", limit: DTM },
    ],
  },
  {
    what: "CPU of a decision for the same crowd, against one shard",
    front: { en: "CPU of a win on 2 to 8 shards, against one", zh: "2 到 8 个分片时每笔成功的 CPU，与 1 个之比" },
    measures: [shards(2), shards(4), shards(8)],
  },
  {
    what: "p99 at half of the peak, open loop",
    front: { en: "p99 at half of the peak: decided; confirmed", zh: "半峰值下的 p99：决定；落库确认" },
    measures: [
      { entry: "decide.always", name: "decision", of: p99Ms, bound: "at most", value: 10, unit: "ms", limit: SHARED },
      { entry: "orders", name: "confirmed", of: p99Ms, bound: "at most", value: 100, unit: "ms" },
    ],
  },
  {
    what: "Redis memory, 1,000,000 buyers for 10,000 units",
    front: { en: "Redis bytes: a refused buyer; a winner", zh: "每人占用的 Redis 内存：被拒者；成功者" },
    measures: [
      { entry: "crowd", name: "a refused buyer", of: number("redisBytesPerRefusedBuyer"), bound: "at most", value: 0, unit: "B" },
      { entry: "crowd", name: "a winner", of: number("redisBytesPerWinner"), bound: "at most", value: 150, unit: "B" },
    ],
  },
];

export interface JudgedMeasure {
  readonly entry: string;
  readonly name: string;
  readonly isReached: boolean;
  /** e.g. `23,400/s` */
  readonly measured: string;
  /** e.g. `≥ 20,000/s` */
  readonly target: string;
  readonly limit: string | undefined;
}

export interface JudgedRow {
  readonly what: string;
  readonly front: Front | undefined;
  /** those that were measured, at least one */
  readonly measures: readonly JudgedMeasure[];
}

/** Less than nothing rounds to -0: shown without its sign. */
const whole = (value: number): string => (Math.round(value) + 0).toLocaleString("en-US");
const short = (value: number): string => (Math.abs(value) < 9.95 ? String(Math.round(value * 100) / 100) : whole(value));

const SHOWN: Readonly<Record<Unit, (value: number) => string>> = {
  times: (value) => `${short(value)}x`,
  part: (value) => value.toFixed(2),
  "a second": (value) => `${whole(value)}/s`,
  ms: (value) => `${short(value)} ms`,
  B: (value) => `${whole(value)} B`,
};

const judged = (scenarios: Readonly<Record<string, Entry>>, measure: Measure): readonly JudgedMeasure[] => {
  const { entry, name, of, bound, value, unit, limit } = measure;
  const measured = scenarios[entry];
  const seen = measured === undefined ? undefined : of(measured);
  if (seen === undefined || seen === null) return [];
  const show = SHOWN[unit];
  const isReached = bound === "at least" ? seen >= value : seen <= value;
  return [{ entry, name, isReached, measured: show(seen), target: `${bound === "at least" ? "≥" : "≤"} ${show(value)}`, limit }];
};

/** Judges what was measured against the targets; rows of which nothing was measured are left out. */
export const judgeTargets = (scenarios: Readonly<Record<string, Entry>>, targets = TARGETS): readonly JudgedRow[] =>
  targets
    .map(({ what, front, measures }) => ({ what, front, measures: measures.flatMap((measure) => judged(scenarios, measure)) }))
    .filter(({ measures }) => measures.length > 0);

/** e.g. `orders, confirmed: 84 ms, target ≤ 100 ms` */
export const targetText = ({ what }: JudgedRow, { name, measured, target, isReached, limit }: JudgedMeasure): string =>
  `${what}${name === "" ? "" : `, ${name}`}: ${measured}, target ${target}${isReached || limit === undefined ? "" : ` (${limit})`}`;
