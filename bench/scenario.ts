import type { Environment } from "../deploy/local/index.ts";
import type { Entry } from "./results.ts";

/** What a scenario may use of the bench that runs it. */
export interface Bench {
  readonly environment: Environment;
  /** how long each side of a measurement is loaded, over all its runs */
  readonly seconds: number;
  readonly runs: number;
  /** whole seconds of one run */
  readonly runSeconds: number;
  /** first line of `wrk -v`; undefined where it is not installed */
  readonly wrk: string | undefined;
  /** whether this entry was asked for */
  wants(entry: string): boolean;
  /** shown while it runs */
  step(text: string): void;
  /** printed and kept in the results: something was left out, and why */
  skip(text: string): void;
  /** the most that a generator got from a bare server so far; the highest counts */
  ceiling(generator: string, perSecond: number): void;
  /** @throws the reason, if the user wants an end */
  goOn(): void;
}

/** Measures one or more entries on servers of its own. */
export interface Scenario {
  /** every entry that it can give, in the order of the table */
  readonly entries: readonly string[];
  /** @param entries where each entry goes when it is measured: what a later one breaks does not lose it */
  run(bench: Bench, entries: Record<string, Entry>): Promise<void>;
}
