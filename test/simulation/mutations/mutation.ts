import type { Profile } from "../options.ts";
import type { Twins } from "../world.ts";

/** One safety rule, replaced by a faulty twin, or several at once. */
export interface Mutation {
  readonly name: string;
  /** what the rule says, as the design has it */
  readonly rule: string;
  /** awaited once before the first schedule */
  readonly prepare?: () => Promise<void>;
  /** made anew for each schedule: a twin may remember */
  readonly twins: () => Twins;
  /** the two-phase messages, or else the shards */
  readonly scene?: "messages";
  /** schedules that look where it hurts */
  readonly profile?: Profile;
  /**
   * Rules that stand behind each other: each has its faulty twin here, and only all of them together break a promise. A
   * schedule counts only if it holds as soon as any one of them is whole.
   */
  readonly members?: readonly Mutation[];
}
