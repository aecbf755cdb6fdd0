import cluster, { type Worker } from "node:cluster";
import { Counter, type Registry } from "prom-client";
import { Invariant, type BrokenState } from "#lua/core/broken";
import type { Clock } from "#protocol/ports";
import type { Log } from "./log.ts";
import { rarely } from "./rarely.ts";

/** Told of everything that was found and may not be; returns, and whoever found it refuses to go on from there. */
export type OnBroken = (error: BrokenState) => void;

/** How often each was found. */
export type BrokenCounts = Readonly<Partial<Record<Invariant, number>>>;

/**
 * So many different findings are not the memory of so many processes. No process ends for another one: a store that
 * somebody wrote to in many places must not end the others' sales as often.
 */
export const MOST_FINDINGS = 16;

/** Variable in which a process gets what its primary knows, as JSON. */
export const FINDINGS = "BROKEN_FINDINGS";
/** A primary that does not take a message any more must not keep alive a process whose memory may be wrong. */
const TELL_WITHIN_MS = 1_000;
/** A known finding may be met by every batch; the primary hears of so many at once. */
const TALLY_MS = 100;

interface Inherited {
  readonly known: readonly string[];
  readonly counts: BrokenCounts;
}

/** From a process to its primary. */
interface Found {
  readonly kind: "doorbuster:found";
  readonly invariant: Invariant;
  readonly place: string;
  readonly times: number;
}

/** From the primary to its processes. */
interface Known {
  readonly kind: "doorbuster:known";
  readonly finding: string;
}

const isKind = <T extends Found | Known>(message: unknown, kind: T["kind"]): message is T =>
  typeof message === "object" && message !== null && (message as Partial<T>).kind === kind;

/** What is the same finding: the text of what was found may change while its cause stays. */
const nameOf = ({ invariant, place }: Pick<Found, "invariant" | "place">): string => `${invariant} at ${place}`;

/**
 * What the processes of a primary have found, as the primary remembers it. It outlives them: a process that ended for a
 * finding is replaced by one that knows it. What that one meets again is in a store and not in its memory.
 */
export class Findings {
  readonly #known = new Set<string>();
  readonly #counts: Partial<Record<Invariant, number>> = {};

  /**
   * Takes in what `teller` has sent, and lets the others know what is new.
   * @returns what was found, how often, and whether for the first time; undefined if the message is about something else
   */
  hear(message: unknown, teller: Worker): { readonly invariant: Invariant; readonly times: number; readonly isNew: boolean } | undefined {
    if (!isKind<Found>(message, "doorbuster:found")) return undefined;
    const { invariant, times } = message;
    const finding = nameOf(message);
    this.#counts[invariant] = (this.#counts[invariant] ?? 0) + times;
    const isNew = !this.#known.has(finding) && this.#known.size < MOST_FINDINGS;
    if (isNew) {
      this.#known.add(finding);
      for (const worker of Object.values(cluster.workers ?? {}))
        if (worker !== teller) worker?.send({ kind: "doorbuster:known", finding } satisfies Known);
    }
    return { invariant, times, isNew };
  }

  /** What a process has to know from its start, as variables for it. */
  environment(): Readonly<Record<string, string>> {
    return { [FINDINGS]: JSON.stringify({ known: [...this.#known], counts: this.#counts } satisfies Inherited) };
  }
}

export interface FindingsOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** FINDINGS as this process got it; undefined: it knows nothing */
  readonly inherited: string | undefined;
  /** ends this process at once */
  readonly end: () => void;
}

/** What a process of ours does with what it finds. */
export interface ProcessFindings {
  /** how often those before it found something, as far as their primary heard */
  readonly before: BrokenCounts;
  readonly onBroken: OnBroken;
}

/**
 * Of a process below a primary. The first to find something logs it, tells the primary and ends. What the primary knows
 * already, or more than MOST_FINDINGS, is logged (rarely) and told, and the process goes on.
 */
export const processFindings = ({ log, clock, inherited, end }: FindingsOptions): ProcessFindings => {
  const { known, counts }: Inherited = inherited === undefined ? { known: [], counts: {} } : JSON.parse(inherited);
  const findings = new Set(known);
  const isNews = rarely(clock);
  const tally = new Map<string, Found>();
  let isEnding = false;
  process.on("message", (message) => {
    if (isKind<Known>(message, "doorbuster:known")) findings.add(message.finding);
  });

  const tellTally = (): void => {
    for (const found of tally.values()) process.send?.(found);
    tally.clear();
  };
  const refuse = (found: Found, error: BrokenState): void => {
    const finding = nameOf(found);
    const news = isNews(finding, error.message);
    if (news !== undefined) log.error({ alert: true, err: error, ...news }, "found again what may not be, and refused to go on from it");
    if (tally.size === 0) setTimeout(tellTally, TALLY_MS).unref();
    tally.set(finding, { ...found, times: (tally.get(finding)?.times ?? 0) + 1 });
  };

  return {
    before: counts,
    onBroken: (error) => {
      const found: Found = { kind: "doorbuster:found", invariant: error.invariant, place: error.place, times: 1 };
      const finding = nameOf(found);
      if (isEnding || findings.has(finding) || findings.size >= MOST_FINDINGS) return refuse(found, error);
      isEnding = true;
      findings.add(finding);
      log.fatal({ alert: true, err: error }, "found what may not be: this process ends, and another begins");
      if (process.send === undefined) return end();
      setTimeout(end, TELL_WITHIN_MS);
      process.send(found, undefined, {}, end);
    },
  };
};

/**
 * The counter of a program's findings, with a line for each invariant from the start, so that the first one is an increase.
 * @param before what it begins with
 */
export const brokenCounter = (name: string, registry: Registry, before: BrokenCounts = {}): Counter<"invariant"> => {
  const counter = new Counter({
    name,
    help: "times that something was found that may not be, by what (lua/core/broken.ts), and nothing was changed. Alert on any",
    labelNames: ["invariant"] as const,
    registers: [registry],
  });
  for (const invariant of Object.values(Invariant)) counter.inc({ invariant }, before[invariant] ?? 0);
  return counter;
};
