import type { MessageOptions } from "./messages/options.ts";
import type { Options } from "./options.ts";
import type { Violation } from "./violation.ts";

/** What a seed means: a schedule of the shards, or of the two-phase messages. */
export type Plan = Options | MessageOptions;

export interface Result {
  readonly options: Plan;
  readonly steps: number;
  readonly hash: number;
  readonly violations: readonly Violation[];
  readonly faults: ReadonlyMap<string, number>;
}

/** One seed's schedule on its way. */
export interface Running {
  /** Does steps up to one that may settle promises: these must run on before the next. @returns false when the schedule has ended */
  step(): boolean;
  result(): Result;
}
