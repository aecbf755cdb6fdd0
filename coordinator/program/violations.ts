import cluster, { type Worker } from "node:cluster";
import { Counter, type Registry } from "prom-client";
import { Invariant, type InvariantViolation } from "#lua/core/invariant";
import type { Clock } from "#protocol/ports";
import type { Log } from "./log.ts";
import { rarely } from "./rarely.ts";

/** Called with every invariant violation; returns, and whoever found it refuses to go on from there. */
export type OnViolation = (error: InvariantViolation) => void;

/** How often each invariant was found violated. */
export type ViolationCounts = Readonly<Partial<Record<Invariant, number>>>;

/**
 * So many different violations are not the memory of so many processes. No process ends for another one: a store that
 * somebody wrote to in many places must not end the others' sales as often.
 */
export const MOST_VIOLATIONS = 16;

/** Variable in which a process gets the violations that its primary knows, as JSON. */
export const KNOWN_VIOLATIONS = "KNOWN_VIOLATIONS";
/** A primary that does not take a message any more must not keep alive a process whose memory may be wrong. */
const TELL_WITHIN_MS = 1_000;
/** A known violation may be met by every batch; the primary hears of so many at once. */
const TALLY_MS = 100;

interface Inherited {
  readonly known: readonly string[];
  readonly counts: ViolationCounts;
}

/** From a process to its primary. */
interface Violated {
  readonly kind: "doorbuster:violated";
  readonly invariant: Invariant;
  readonly place: string;
  readonly times: number;
}

/** From the primary to its processes. */
interface Known {
  readonly kind: "doorbuster:known";
  readonly violation: string;
}

const isKind = <T extends Violated | Known>(message: unknown, kind: T["kind"]): message is T =>
  typeof message === "object" && message !== null && (message as Partial<T>).kind === kind;

/** What is the same violation: the text of what was found may change while its cause stays. */
const nameOf = ({ invariant, place }: Pick<Violated, "invariant" | "place">): string => `${invariant} at ${place}`;

/**
 * What the processes of a primary have found, as the primary remembers it. It outlives them: a process that ended for a
 * violation is replaced by one that knows it. What that one meets again is in a store and not in its memory.
 */
export class KnownViolations {
  readonly #known = new Set<string>();
  readonly #counts: Partial<Record<Invariant, number>> = {};

  /**
   * Takes in what `teller` has sent, and lets the others know what is new.
   * @returns what was found, how often, and whether for the first time; undefined if the message is about something else
   */
  hear(message: unknown, teller: Worker): { readonly invariant: Invariant; readonly times: number; readonly isNew: boolean } | undefined {
    if (!isKind<Violated>(message, "doorbuster:violated")) return undefined;
    const { invariant, times } = message;
    const violation = nameOf(message);
    this.#counts[invariant] = (this.#counts[invariant] ?? 0) + times;
    const isNew = !this.#known.has(violation) && this.#known.size < MOST_VIOLATIONS;
    if (isNew) {
      this.#known.add(violation);
      for (const worker of Object.values(cluster.workers ?? {}))
        if (worker !== teller) worker?.send({ kind: "doorbuster:known", violation } satisfies Known);
    }
    return { invariant, times, isNew };
  }

  /** What a process has to know from its start, as variables for it. */
  environment(): Readonly<Record<string, string>> {
    return { [KNOWN_VIOLATIONS]: JSON.stringify({ known: [...this.#known], counts: this.#counts } satisfies Inherited) };
  }
}

export interface ViolationsOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** KNOWN_VIOLATIONS as this process got it; undefined: it knows nothing */
  readonly inherited: string | undefined;
  /** ends this process at once */
  readonly end: () => void;
}

/** What a process of ours does with the invariant violations that it finds. */
export interface ProcessViolations {
  /** how often those before it found something, as far as their primary heard */
  readonly before: ViolationCounts;
  readonly onViolation: OnViolation;
}

/**
 * Of a process below a primary. The first to find something logs it, tells the primary and ends. What the primary knows
 * already, or more than MOST_VIOLATIONS, is logged (rarely) and reported to the primary, and the process goes on.
 */
export const processViolations = ({ log, clock, inherited, end }: ViolationsOptions): ProcessViolations => {
  const { known, counts }: Inherited = inherited === undefined ? { known: [], counts: {} } : JSON.parse(inherited);
  const violations = new Set(known);
  const isNews = rarely(clock);
  const tally = new Map<string, Violated>();
  let isEnding = false;
  process.on("message", (message) => {
    if (isKind<Known>(message, "doorbuster:known")) violations.add(message.violation);
  });

  const tellTally = (): void => {
    for (const found of tally.values()) process.send?.(found);
    tally.clear();
  };
  const refuse = (found: Violated, error: InvariantViolation): void => {
    const violation = nameOf(found);
    const news = isNews(violation, error.message);
    if (news !== undefined) log.error({ alert: true, err: error, ...news }, "invariant violated again: refused to go on from it");
    if (tally.size === 0) setTimeout(tellTally, TALLY_MS).unref();
    tally.set(violation, { ...found, times: (tally.get(violation)?.times ?? 0) + 1 });
  };

  return {
    before: counts,
    onViolation: (error) => {
      const found: Violated = { kind: "doorbuster:violated", invariant: error.invariant, place: error.place, times: 1 };
      const violation = nameOf(found);
      if (isEnding || violations.has(violation) || violations.size >= MOST_VIOLATIONS) return refuse(found, error);
      isEnding = true;
      violations.add(violation);
      log.fatal({ alert: true, err: error }, "invariant violated: this process ends, because its memory may be wrong, and another begins");
      if (process.send === undefined) return end();
      setTimeout(end, TELL_WITHIN_MS);
      process.send(found, undefined, {}, end);
    },
  };
};

/**
 * The counter of a program's violations, with a line for each invariant from the start, so that the first one is an increase.
 * @param before what it begins with
 */
export const violationCounter = (name: string, registry: Registry, before: ViolationCounts = {}): Counter<"invariant"> => {
  const counter = new Counter({
    name,
    help: "times that an invariant (lua/core/invariant.ts) was found violated, and nothing was changed. Alert on any",
    labelNames: ["invariant"] as const,
    registers: [registry],
  });
  for (const invariant of Object.values(Invariant)) counter.inc({ invariant }, before[invariant] ?? 0);
  return counter;
};
