import { expand, MIXED } from "../options.ts";
import { runSchedules } from "../runner.ts";
import { expandMessages } from "../messages/options.ts";
import type { Violation } from "../violation.ts";
import type { Mutation } from "./mutation.ts";

export interface Caught {
  readonly mutation: Mutation;
  /** schedules that ran until it was caught, or in all */
  readonly seeds: number;
  readonly steps: number;
  /** undefined: it was not */
  readonly caught: { readonly seed: number; readonly violation: Violation } | undefined;
}

/** Runs seeds under a mutation until one of them breaks a promise. */
export const hunt = async (mutation: Mutation, most: number, from = 1): Promise<Caught> => {
  const plan = mutation.scene === "messages" ? expandMessages : (seed: number) => expand(seed, mutation.profile ?? MIXED);
  let given = 0;
  let steps = 0;
  let caught: Caught["caught"];
  await runSchedules(() => (caught === undefined && given < most ? plan(from + given++) : undefined), {
    twins: mutation.twins,
    done: (result) => {
      steps += result.steps;
      const [violation] = result.violations;
      // side by side schedules end in another order than they began: the first seed is the same every time
      if (violation !== undefined && (caught === undefined || result.options.seed < caught.seed))
        caught = { seed: result.options.seed, violation };
    },
  });
  return { mutation, seeds: caught === undefined ? given : caught.seed - from + 1, steps, caught };
};
