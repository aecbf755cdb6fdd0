import type { Profile } from "../options.ts";
import type { Twins } from "../world.ts";

/** One safety rule, replaced by a faulty twin. */
export interface Mutation {
  readonly name: string;
  /** what the rule says, as the design has it */
  readonly rule: string;
  /** made anew for each schedule: a twin may remember */
  readonly twins: () => Twins;
  /** schedules that look where it hurts */
  readonly profile?: Profile;
}
