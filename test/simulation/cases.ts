import type { Plan } from "./result.ts";

/** A schedule that once broke a promise, as small as it could be made. */
export interface Case {
  readonly name: string;
  readonly options: Plan;
}

export const CASES: readonly Case[] = [
  {
    name: "two coordinators, each connected to one side of a failover",
    options: {
      seed: 838,
      shards: 1,
      gateways: 2,
      workers: 2,
      coordinators: 2,
      sales: [{ id: "sale0", units: [2], limit: 1, opensAtMs: 0 }],
      buyers: 4,
      acts: 33,
      added: 0,
      moves: 0,
      chaosMs: 1501.4960837153176,
      leaseMs: 3000,
      openMs: 1500,
      sweepMs: 1000,
      soldOut: true,
      weather: {
        lost: 0.0015701175300261345,
        unanswered: 0.0034136479432645235,
        late: 0,
        refused: 0.0008036819259819746,
        repeated: 0.05,
        overtaking: 0.02,
        slow: 0.15,
      },
      daysMs: 0,
      faults: [
        {
          kind: "redis failover",
          atMs: 379.731301002665,
          shard: 0,
          process: "worker0",
          target: "postgres",
          ms: 10556.569503735856,
          lost: 8,
          trap: undefined,
        },
        {
          kind: "pause",
          atMs: 1161.2818106312823,
          shard: 0,
          process: "coordinator1",
          target: "postgres",
          ms: 431.6056781557558,
          lost: 9,
          trap: undefined,
        },
      ],
    },
  },
  {
    name: "a settle that only the replaced server heard",
    options: {
      seed: 1617,
      shards: 1,
      gateways: 2,
      workers: 1,
      coordinators: 2,
      sales: [{ id: "sale0", units: [6], limit: 1, opensAtMs: 0 }],
      buyers: 9,
      acts: 48,
      added: 0,
      moves: 0,
      chaosMs: 4686.58953821412,
      leaseMs: 1000,
      openMs: 1500,
      sweepMs: 1000,
      soldOut: true,
      weather: { lost: 0, unanswered: 0, late: 0, refused: 0, repeated: 0, overtaking: 0, slow: 0.15 },
      daysMs: 0,
      faults: [
        {
          kind: "pause",
          atMs: 173.74691648879667,
          shard: 0,
          process: "coordinator0",
          target: "postgres",
          ms: 1603.8429787155333,
          lost: 0,
          trap: undefined,
        },
        {
          kind: "redis failover",
          atMs: 2309.473200769516,
          shard: 0,
          process: "gateway0",
          target: "postgres",
          ms: 8036.985378624443,
          lost: 0,
          trap: undefined,
        },
      ],
    },
  },
];
