import { expand, MIXED } from "../options.ts";
import { runSchedule, runSchedules } from "../runner.ts";
import { expandMessages } from "../messages/options.ts";
import type { Plan, Result } from "../result.ts";
import type { Violation } from "../violation.ts";
import { join } from "./join.ts";
import type { Mutation } from "./mutation.ts";

export interface Caught {
  readonly mutation: Mutation;
  /** schedules that ran until it was caught, or in all */
  readonly seeds: number;
  readonly steps: number;
  /** undefined: it was not */
  readonly caught: { readonly seed: number; readonly violation: Violation } | undefined;
}

/** Whether a schedule holds as soon as one of the rules is whole, whichever that is: then it takes all of them. */
const takesAll = async (members: readonly Mutation[], options: Plan): Promise<boolean> => {
  for (const whole of members) {
    const others = members.filter((member) => member !== whole);
    const { violations } = await runSchedule(options, () => join(others.map(({ twins }) => twins())));
    if (violations.length > 0) return false;
  }
  return true;
};

/** Runs seeds under a mutation until one of them breaks a promise. */
export const hunt = async (mutation: Mutation, most: number, from = 1): Promise<Caught> => {
  const { members = [], profile = MIXED } = mutation;
  const plan = mutation.scene === "messages" ? expandMessages : (seed: number) => expand(seed, profile);
  await mutation.prepare?.();
  let given = 0;
  let steps = 0;
  const run = async (): Promise<Result | undefined> => {
    let broken: Result | undefined;
    await runSchedules(() => (broken === undefined && given < most ? plan(from + given++) : undefined), {
      twins: mutation.twins,
      done: (result) => {
        steps += result.steps;
        if (result.violations.length > 0) broken = result;
      },
    });
    return broken;
  };
  for (let broken = await run(); broken !== undefined; broken = await run()) {
    const [violation] = broken.violations;
    if (violation !== undefined && (await takesAll(members, broken.options)))
      return { mutation, seeds: given, steps, caught: { seed: broken.options.seed, violation } };
  }
  return { mutation, seeds: given, steps, caught: undefined };
};
