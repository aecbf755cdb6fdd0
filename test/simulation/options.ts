import { Draw } from "../harness/draw.ts";
import { opNames, Scene } from "./kernel/wire.ts";
import { CALM, type Weather } from "./kernel/weather.ts";

export const FaultKind = {
  /** kill -9 of a process, which starts again after `ms` */
  crash: "crash",
  /** SIGSTOP for `ms` */
  pause: "pause",
  /** nothing passes between a process and a store for `ms` */
  cut: "cut",
  /** kill -9 of a Redis; it loses `lost` writes and is back after `ms` */
  redisRestart: "redis restart",
  /** its folder is lost */
  redisWipe: "redis wipe",
  /** a replica that is `lost` writes behind takes its place; the old one goes on for `ms` */
  redisFailover: "redis failover",
  /** the call at which it is set has its effect `ms` later, or, set after the effect, loses its answer */
  late: "late",
  /** has reached its `maxmemory` for `ms` */
  redisFull: "redis full",
  /** its wall clock jumps by `ms` */
  redisClock: "redis clock",
  /** a process's wall clock jumps by `ms` */
  processClock: "process clock",
  /** kill -9 of the broker; it loses its last `lost` messages */
  brokerRestart: "broker restart",
  /** takes no message for `ms` */
  brokerFull: "broker full",
  /** hands out again its last `lost` messages, which were acked */
  brokerRepeat: "broker repeat",
  /** kill -9 of Postgres: open transactions are rolled back */
  postgresRestart: "postgres restart",
} as const;
export type FaultKind = (typeof FaultKind)[keyof typeof FaultKind];

/** One fault of a schedule; what its kind does not need is 0. */
export interface Fault {
  readonly kind: FaultKind;
  /** strikes then, or from then on at the n-th call of the op */
  readonly atMs: number;
  readonly trap: { readonly op: string; readonly nth: number; readonly when: "before" | "after" } | undefined;
  readonly shard: number;
  /** name of the process; at a trap the caller is meant, whoever it is */
  readonly process: string;
  readonly target: string;
  readonly ms: number;
  readonly lost: number;
}

export interface SalePlan {
  readonly id: string;
  /** units at the opening, by shard */
  readonly units: readonly number[];
  readonly limit: number;
  /** after the beginning of the schedule */
  readonly opensAtMs: number;
  /** when an operator closes it; left out: never */
  readonly closedAtMs?: number;
}

/** What a seed means, written out: the same options make the same schedule. */
export interface Options {
  readonly seed: number;
  readonly shards: number;
  readonly gateways: number;
  readonly workers: number;
  readonly coordinators: number;
  readonly sales: readonly SalePlan[];
  readonly buyers: number;
  /** things that buyers do while there is chaos */
  readonly acts: number;
  /** units that an operator adds meanwhile, one grant each */
  readonly added: number;
  /** times that somebody moves a unit of a sale from one of its shards to another, for no reason */
  readonly moves: number;
  /** paid orders of each closed sale that are taken back; left out: none */
  readonly refunds?: number;
  /** coordinators bring units to where they are asked for */
  readonly mover: boolean;
  readonly chaosMs: number;
  readonly leaseMs: number;
  readonly openMs: number;
  readonly sweepMs: number;
  /** coordinators decide about sold-out, gateways believe it */
  readonly soldOut: boolean;
  readonly weather: Weather;
  /** when all has come to rest, days in which nothing runs; late calls may come after them. 0 = none */
  readonly daysMs: number;
  readonly faults: readonly Fault[];
}

/** A kind of schedule: how often which faults come. A mutation may ask for one that looks where it hurts. */
export interface Profile {
  readonly name: string;
  readonly weights: Partial<Record<FaultKind, number>>;
  /** ops that traps are set on; all of them by default */
  readonly ops?: readonly string[];
  /** share of the faults that are traps */
  readonly traps: number;
  readonly mostFaults: number;
  readonly change?: (options: Options, draw: Draw) => Options;
}

const ALL_WEIGHTS: Profile["weights"] = {
  crash: 5,
  pause: 5,
  cut: 3,
  "redis restart": 5,
  "redis wipe": 0.7,
  "redis failover": 3,
  "redis clock": 0.5,
  "process clock": 0.5,
  "broker restart": 4,
  "broker full": 1,
  "broker repeat": 1,
  "postgres restart": 2,
};

export const MIXED: Profile = { name: "mixed", weights: ALL_WEIGHTS, traps: 0.5, mostFaults: 6 };

const names = (options: Pick<Options, "gateways" | "workers" | "coordinators">): string[] => [
  ...Array.from({ length: options.coordinators }, (_, i) => `coordinator${i}`),
  ...Array.from({ length: options.workers }, (_, i) => `worker${i}`),
  ...Array.from({ length: options.gateways }, (_, i) => `gateway${i}`),
];

/** Steps that matter more than others: the last ones of an attempt, and what commits. */
const FOCUS = ["redis close", "redis keep", "redis open", "redis swap", "log append marker", "pg commit", "redis reserve", "redis grant"];

interface Place {
  readonly shards: number;
  readonly processes: readonly string[];
  readonly chaosMs: number;
  /** a Redis that fsyncs always: a restart loses nothing and no replica is promoted */
  readonly always: boolean;
}

const drawFault = (draw: Draw, profile: Profile, place: Place): Fault => {
  const kind = draw.weighted(profile.weights);
  const ops = profile.ops ?? (draw.chance(0.6) ? FOCUS : opNames(Scene.shards));
  const trap = draw.chance(profile.traps)
    ? { op: draw.pick(ops), nth: Math.ceil(draw.logarithmic(0.5, 12)), when: draw.chance(0.5) ? ("before" as const) : ("after" as const) }
    : undefined;
  const isLossy = !place.always;
  const long = kind === FaultKind.pause || kind === FaultKind.redisFailover ? draw.logarithmic(300, 9_000) : draw.logarithmic(5, 3_000);
  return {
    kind,
    atMs: draw.fraction() * place.chaosMs,
    trap,
    shard: draw.below(place.shards),
    process: draw.pick(place.processes),
    target: draw.pick(["broker", "postgres", ...Array.from({ length: place.shards }, (_, shard) => `redis${shard}`)]),
    ms: CLOCKS.has(kind) ? draw.between(-4_000, 4_000) : long,
    lost:
      kind === FaultKind.brokerRepeat
        ? draw.between(1, 8)
        : kind === FaultKind.brokerRestart
          ? draw.chance(0.5)
            ? 0
            : draw.between(1, 6)
          : isLossy
            ? draw.below(10)
            : 0,
  };
};

const CLOCKS: ReadonlySet<FaultKind> = new Set([FaultKind.redisClock, FaultKind.processClock]);
const LOSSY: ReadonlySet<FaultKind> = new Set([FaultKind.redisWipe, FaultKind.redisFailover]);

const drawWeather = (draw: Draw): Weather => {
  const bad = draw.chance(0.25) ? 0 : draw.logarithmic(0.001, 0.05);
  const part = (): number => (draw.chance(0.3) ? 0 : bad * draw.fraction());
  return {
    lost: part(),
    unanswered: part(),
    late: part() * 0.5,
    refused: part(),
    repeated: draw.chance(0.5) ? 0 : 0.05,
    overtaking: draw.chance(0.7) ? 0 : 0.02,
    slow: draw.chance(0.5) ? CALM.slow : 0.15,
  };
};

const drawSales = (draw: Draw, shards: number): SalePlan[] => {
  const count = draw.chance(0.25) ? 2 : 1;
  return Array.from({ length: count }, (_, i) => {
    const on = draw.chance(0.6) ? draw.below(shards) : -1;
    const units = Array.from({ length: shards }, (_, shard) => (on === -1 || on === shard ? draw.between(1, on === -1 ? 4 : 6) : 0));
    return {
      id: `sale${i}`,
      units,
      limit: draw.chance(0.8) ? 1 : draw.between(2, 3),
      opensAtMs: draw.chance(0.9) ? 0 : draw.between(100, 2_000),
    };
  });
};

const DAY_MS = 86_400_000;

/** Some sales are closed, archived, and asked about further on. */
const ending = (options: Options, draw: Draw): Options => ({
  ...options,
  sales: options.sales.map((sale) => (draw.chance(0.7) ? { ...sale, closedAtMs: draw.fraction() * options.chaosMs } : sale)),
  refunds: draw.chance(0.5) ? draw.between(1, 3) : 0,
});

/** What a seed means. */
export const expand = (seed: number, profile: Profile = MIXED): Options => {
  const draw = new Draw(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995);
  const shards = draw.chance(0.6) ? 1 : 2;
  const parts = {
    gateways: draw.between(1, 2),
    workers: draw.chance(0.6) ? 2 : 1,
    coordinators: draw.chance(0.7) ? 2 : 1,
  };
  const sales = drawSales(draw, shards);
  const total = sales.reduce((sum, { units }) => sum + units.reduce((a, b) => a + b, 0), 0);
  const chaosMs = draw.logarithmic(1_500, 9_000);
  const always = draw.chance(0.4);
  const processes = names(parts);
  const faults = Array.from({ length: draw.below(profile.mostFaults + 1) }, () =>
    drawFault(draw, profile, { shards, processes, chaosMs, always }),
  )
    .filter(({ kind }) => !always || !LOSSY.has(kind))
    .sort((a, b) => a.atMs - b.atMs);
  const options: Options = {
    seed,
    shards,
    ...parts,
    sales,
    buyers: total + draw.between(0, 4),
    acts: draw.between(total, total * 3 + 6),
    added: draw.chance(0.3) ? draw.between(1, 2) : 0,
    moves: draw.chance(0.5) ? draw.below(6) : 0,
    mover: draw.chance(0.7),
    chaosMs,
    leaseMs: draw.chance(0.5) ? 3_000 : 1_000,
    openMs: draw.chance(0.5) ? 5_000 : 1_500,
    sweepMs: draw.chance(0.5) ? 400 : 1_000,
    soldOut: draw.chance(0.5),
    weather: drawWeather(draw),
    daysMs: draw.chance(0.95) ? 0 : draw.between(1, 30) * DAY_MS,
    faults,
  };
  const ended = draw.chance(0.3) ? ending(options, draw) : options;
  return profile.change?.(ended, draw) ?? ended;
};
