import type { Profile } from "../options.ts";
import type { Twins } from "../world.ts";

/** One safety rule, replaced by a faulty twin. */
export interface Mutation {
  readonly name: string;
  /** what the rule says, as the design has it */
  readonly rule: string;
  /** made anew for each schedule: a twin may remember */
  readonly twins: () => Twins;
  /** the two-phase messages, or else the shards */
  readonly scene?: "messages";
  /** schedules that look where it hurts */
  readonly profile?: Profile;
}
