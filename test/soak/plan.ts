import type { Draw } from "../harness/draw.ts";

/** What a round can do to the stack. */
export const FaultKind = {
  /** SIGKILL of a part: a server, or a program with all its processes; its supervisor starts it again */
  kill: "kill",
  /** SIGKILL of one process of a cluster */
  killProcess: "killProcess",
  /** SIGSTOP of all its processes, SIGCONT later */
  pause: "pause",
  /** every connection of a pair is reset once */
  cut: "cut",
  refuse: "refuse",
  hold: "hold",
  blackHole: "blackHole",
  halfOpen: "halfOpen",
  delay: "delay",
  drip: "drip",
  /** a request is executed and its answer is lost */
  loseAnswer: "loseAnswer",
} as const;
export type FaultKind = (typeof FaultKind)[keyof typeof FaultKind];

export interface Fault {
  readonly kind: FaultKind;
  /** a part, or a pair `<program>:<store>` */
  readonly target: string;
  /** since the round began */
  readonly atMs: number;
  /** until it is ended; 0 = it is over at once */
  readonly forMs: number;
}

export interface PlannedSale {
  readonly id: string;
  readonly units: number;
  readonly buyers: number;
  readonly limit: number;
  /** shards that its units are dealt to */
  readonly shardCount: number;
  /** units that an operator adds in the middle */
  readonly added: number;
}

export interface Round {
  readonly sales: readonly PlannedSale[];
  readonly faults: readonly Fault[];
  /** the folder of this Redis is wiped while everything that was sold is in Postgres; -1 = none */
  readonly wipedShard: number;
}

export interface PlanOptions {
  readonly parts: readonly string[];
  readonly pairs: readonly string[];
  readonly shards: number;
  readonly roundMs: number;
  readonly buyersPerSecond: number;
}

const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  kill: 6,
  killProcess: 3,
  pause: 4,
  cut: 3,
  refuse: 2,
  hold: 2,
  blackHole: 2,
  halfOpen: 2,
  delay: 1,
  drip: 1,
  loseAnswer: 4,
};
const OF_PART: ReadonlySet<FaultKind> = new Set([FaultKind.kill, FaultKind.pause]);
const AT_ONCE: ReadonlySet<FaultKind> = new Set([FaultKind.kill, FaultKind.killProcess, FaultKind.cut]);
const CLUSTERS = ["gateway", "workers"] as const;

/** Longer than a lease (3 s) and the permission to sell (5 s), about half of the time. */
const PAUSE_MOST_MS = 9_000;
const GAP_MOST_MS = 8_000;

const planFault = (draw: Draw, options: PlanOptions, atMs: number): Fault => {
  const kind = draw.weighted(WEIGHTS);
  const target = kind === FaultKind.killProcess ? draw.pick(CLUSTERS) : draw.pick(OF_PART.has(kind) ? options.parts : options.pairs);
  return { kind, target, atMs, forMs: AT_ONCE.has(kind) ? 0 : draw.between(500, PAUSE_MOST_MS) };
};

const planSale = (draw: Draw, options: PlanOptions, id: string, share: number): PlannedSale => {
  const buyers = Math.max(20, Math.round((options.roundMs / 1_000) * options.buyersPerSecond * share));
  const units = Math.max(10, Math.round(buyers * (0.3 + draw.fraction() * 0.9)));
  return {
    id,
    units,
    buyers,
    limit: draw.fraction() < 0.3 ? 2 : 1,
    shardCount: draw.between(1, options.shards),
    added: draw.fraction() < 0.5 ? draw.between(1, Math.ceil(buyers / 10)) : 0,
  };
};

/** The next round: one or two sales, and trouble every few seconds while they sell. */
export const planRound = (draw: Draw, options: PlanOptions, number: number): Round => {
  const count = draw.fraction() < 0.4 ? 2 : 1;
  const sales = Array.from({ length: count }, (_, n) => planSale(draw, options, `soak-${number}-${n}`, 1 / count));
  const faults: Fault[] = [];
  for (let atMs = draw.between(500, 3_000); atMs < options.roundMs; atMs += draw.between(500, GAP_MOST_MS))
    faults.push(planFault(draw, options, atMs));
  return { sales, faults, wipedShard: draw.fraction() < 0.3 ? draw.between(0, options.shards - 1) : -1 };
};
