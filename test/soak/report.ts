import type { CrowdCounts } from "../harness/crowd.ts";
import type { FaultKind } from "./plan.ts";
import type { Counters } from "./watch.ts";

/** One look, every few seconds. */
export interface Sample {
  /** s since the beginning */
  readonly atS: number;
  /** purchases won so far */
  readonly won: number;
  /** requests sent so far */
  readonly requests: number;
  /** buyers who wait for an answer */
  readonly waiting: number;
  /** what was done so far, and what came of it */
  readonly kills: number;
  readonly pauses: number;
  readonly disturbances: number;
  readonly restarts: number;
  readonly redeliveries: number;
  readonly violations: number;
  /** by part, with all its processes */
  readonly memoryBytes: Readonly<Record<string, number>>;
}

export interface FaultDone {
  readonly atS: number;
  readonly kind: FaultKind | "wipe";
  readonly target: string;
  readonly forMs: number;
}

export interface Violation {
  readonly atS: number;
  readonly text: string;
}

/** What `npm run soak` writes to soak.json. */
export interface SoakReport {
  readonly command: string;
  readonly commit: string;
  readonly startedAt: string;
  readonly seed: number;
  readonly minutes: number;
  readonly shards: number;
  /** by then after the last fault of a round everybody has to have an answer */
  readonly restSeconds: number;
  readonly node: string;
  readonly rounds: number;
  readonly sales: number;
  /** orders in Postgres, each the only one of a purchase whose buyer was told of it */
  readonly purchases: number;
  readonly unitsOnSale: number;
  readonly answers: CrowdCounts;
  /** what was done to the stack */
  readonly faults: Readonly<Record<FaultKind | "wipe", number>>;
  /** servers and programs that were started again */
  readonly restarts: number;
  readonly counters: Counters;
  readonly audits: { readonly ok: number; readonly storeAway: number; readonly unsettled: number };
  readonly violations: readonly Violation[];
  readonly faultLog: readonly FaultDone[];
  readonly samples: readonly Sample[];
}

const count = (value: number): string => value.toLocaleString("en-US");
const listed = (values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .filter(([, value]) => value > 0)
    .map(([name, value]) => `${name} ${count(value)}`)
    .join(", ") || "none";

/** Messages that came to a worker although all of theirs was applied: delivered again, or appended again. */
export const redeliveries = ({ messages }: Counters): number => messages["repeated"] ?? 0;

type Faults = SoakReport["faults"];
export const kills = (faults: Faults): number => faults.kill + faults.killProcess;
const NO_DISTURBANCE: ReadonlySet<string> = new Set(["kill", "killProcess", "pause", "wipe"]);
const disturbed = (faults: Faults): Record<string, number> =>
  Object.fromEntries(Object.entries(faults).filter(([kind]) => !NO_DISTURBANCE.has(kind)));
export const disturbances = (faults: Faults): number => Object.values(disturbed(faults)).reduce((sum, count) => sum + count, 0);

/** The lines of the summary, as [what, value]. */
export const summaryOf = (report: SoakReport): readonly (readonly [string, string])[] => {
  const { faults, counters, audits, answers } = report;
  return [
    ["violations", count(report.violations.length)],
    ["purchases", `${count(report.purchases)} orders in ${count(report.sales)} sales with ${count(report.unitsOnSale)} units`],
    [
      "requests",
      `${count(answers.requests)}, of which ${count(answers.silent)} without an answer and ${count(answers.later)} told to come again`,
    ],
    ["kills (SIGKILL)", `${count(faults.kill)} of a server or program, ${count(faults.killProcess)} of one process of a cluster`],
    ["pauses (SIGSTOP)", count(faults.pause)],
    ["connections disturbed", `${count(disturbances(faults))}: ${listed(disturbed(faults))}`],
    ["Redis folders wiped", count(faults.wipe)],
    ["restarts", count(report.restarts)],
    ["redeliveries", `${count(redeliveries(counters))} messages came again and changed nothing`],
    ["messages to the workers", listed(counters.messages)],
    ["appended again, by cause", listed(counters.appendedAgain)],
    ["attempts to begin an epoch", listed(counters.epochs)],
    ["rebuilds from Postgres", listed(counters.restores)],
    ["units moved between shards", listed(counters.transfers)],
    ["alarms of the engine's checks", listed(counters.alarms)],
    [
      "audits during the faults",
      `${count(audits.ok)} exact, ${count(audits.unsettled)} in mid-recovery, ${count(audits.storeAway)} with a store away`,
    ],
    ["every answer and order", `within ${report.restSeconds} s after the last fault of a round`],
    ["run", `${report.minutes} minutes, seed ${report.seed}, ${report.shards} shards, Node ${report.node}, commit ${report.commit}`],
  ];
};
