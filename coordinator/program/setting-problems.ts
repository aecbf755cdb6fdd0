import { Gauge, type Registry } from "prom-client";
import type { Log } from "./log.ts";

export const SettingVerdict = {
  /** what needs the setting does not begin before it is right */
  refuse: "refuse",
  /** it works, and promises less */
  warn: "warn",
} as const;
export type SettingVerdict = (typeof SettingVerdict)[keyof typeof SettingVerdict];

/** A setting of a store, a broker or a proxy that breaks a promise (DESIGN 1). */
export interface SettingProblem {
  /** as its own manual spells it */
  readonly setting: string;
  /** what it is, or why that cannot be seen */
  readonly found: string;
  readonly wanted: string;
  readonly verdict: SettingVerdict;
  /** what breaks, in words */
  readonly breaks: string;
}

/** With the store, the broker or the proxy whose setting it is; never with a password. */
export type PlacedProblem = SettingProblem & { readonly place: string };

/** What each place was found to be set to; `note` keeps the latest look, `all` is for `/readyz` and metrics. */
export interface SettingProblems {
  /**
   * Takes the place of what an earlier look at the same place found. What is new is logged, and what has been mended.
   * @param place the store's address, or its name where there is one: a label of the gauge
   */
  note(place: string, problems: readonly SettingProblem[]): void;
  all(): readonly PlacedProblem[];
}

const textOf = ({ setting, found, wanted }: SettingProblem): string => `${setting} is ${found}, wanted is ${wanted}`;

/** Says each problem once when it is found, and once when it is gone. */
const say = (log: Log, place: string, before: readonly SettingProblem[], problems: readonly SettingProblem[]): void => {
  for (const problem of problems) {
    if (before.some((known) => textOf(known) === textOf(problem))) continue;
    const { verdict, breaks } = problem;
    if (verdict === SettingVerdict.refuse) log.error({ alert: true, place, ...problem }, `refused: ${textOf(problem)}: ${breaks}`);
    else log.warn({ place, ...problem }, `${textOf(problem)}: ${breaks}`);
  }
  for (const { setting } of before)
    if (!problems.some((problem) => problem.setting === setting)) log.info({ place, setting }, `${setting} is right now`);
};

/**
 * @param registry gets `doorbuster_setting_problem`: 1 for each problem that there is
 * @param changed called after every change, with everything that is wrong
 */
export const settingProblems = (
  log: Log,
  registry: Registry,
  changed: (all: readonly PlacedProblem[]) => void = () => undefined,
): SettingProblems => {
  const places = new Map<string, readonly SettingProblem[]>();
  const all = (): readonly PlacedProblem[] =>
    [...places].flatMap(([place, problems]) => problems.map((problem) => ({ place, ...problem })));
  const gauge = new Gauge({
    name: "doorbuster_setting_problem",
    help: "1 while a setting of a store, broker or proxy breaks a promise; the log and /readyz say which and how. Alert on verdict refuse",
    labelNames: ["place", "setting", "verdict"] as const,
    registers: [registry],
    // several processes may find the same one
    aggregator: "max",
    collect() {
      gauge.reset();
      for (const { place, setting, verdict } of all()) gauge.set({ place, setting, verdict }, 1);
    },
  });
  return {
    all,
    note: (place, problems) => {
      const before = places.get(place) ?? [];
      if (JSON.stringify(before) === JSON.stringify(problems)) return;
      places.set(place, problems);
      say(log, place, before, problems);
      changed(all());
    },
  };
};

/** From a process to its primary. */
interface Told {
  readonly kind: "doorbuster:settings";
  readonly problems: readonly PlacedProblem[];
}

/** In a process below a primary: what is wrong for it, for the primary's `/readyz`. */
export const tellProblems = (problems: readonly PlacedProblem[]): void =>
  void process.send?.({ kind: "doorbuster:settings", problems } satisfies Told);

/** In the primary. @returns undefined if the message is about something else */
export const heardProblems = (message: unknown): readonly PlacedProblem[] | undefined =>
  typeof message === "object" && message !== null && (message as Partial<Told>).kind === "doorbuster:settings"
    ? (message as Told).problems
    : undefined;

/** What several processes found, each problem once. */
export const allProblems = (found: Iterable<readonly PlacedProblem[]>): readonly PlacedProblem[] => [
  ...new Map([...found].flat().map((problem) => [`${problem.place} ${textOf(problem)}`, problem])).values(),
];
