import { CALM } from "./kernel/weather.ts";
import { smallerMessages } from "./messages/options.ts";
import type { Options } from "./options.ts";
import { runSchedule } from "./runner.ts";
import type { Plan, Result } from "./result.ts";
import type { Twins } from "./world.ts";

const without = <T>(items: readonly T[], at: number): T[] => items.filter((_, i) => i !== at);

/** Smaller schedules of the shards, the boldest first. */
function* smallerShards(options: Options): Generator<Options> {
  const { faults, acts, buyers, chaosMs } = options;
  if (faults.length > 2) {
    const half = Math.ceil(faults.length / 2);
    yield { ...options, faults: faults.slice(0, half) };
    yield { ...options, faults: faults.slice(half) };
  }
  for (let at = 0; at < faults.length; at += 1) yield { ...options, faults: without(faults, at) };
  if (options.weather !== CALM) yield { ...options, weather: CALM };
  if (options.daysMs > 0) yield { ...options, daysMs: 0 };
  if (options.moves > 0) yield { ...options, moves: 0 };
  if (options.added > 0) yield { ...options, added: 0 };
  if ((options.refunds ?? 0) > 0) yield { ...options, refunds: 0 };
  if (options.sales.some(({ closedAtMs }) => closedAtMs !== undefined))
    yield { ...options, sales: options.sales.map(({ closedAtMs: _closedAtMs, ...sale }) => sale) };
  if (options.soldOut) yield { ...options, soldOut: false };
  if (options.sales.length > 1)
    for (let at = 0; at < options.sales.length; at += 1) yield { ...options, sales: without(options.sales, at) };
  if (acts > 1) yield { ...options, acts: Math.floor(acts / 2) };
  if (acts > 1) yield { ...options, acts: acts - 1 };
  if (buyers > 1) yield { ...options, buyers: buyers - 1 };
  if (chaosMs > 500) yield { ...options, chaosMs: chaosMs * 0.7 };
  for (const part of ["gateways", "workers", "coordinators"] as const)
    if (options[part] > 1) yield { ...options, [part]: options[part] - 1 };
}

const smaller = (options: Plan): Generator<Plan> => ("scene" in options ? smallerMessages(options, CALM) : smallerShards(options));

/**
 * Looks for a smaller schedule that breaks the same promise: fewer faults, fewer buyers, less time.
 * @param tries schedules that may be run for it
 */
export const shrink = async (failed: Result, twins?: () => Twins, tries = 400): Promise<Result> => {
  const kind = failed.violations[0]?.kind;
  let best = failed;
  let left = tries;
  for (let found = true; found && left > 0;) {
    found = false;
    for (const options of smaller(best.options)) {
      if (left-- <= 0) break;
      const result = await runSchedule(options, twins);
      if (!result.violations.some((violation) => violation.kind === kind)) continue;
      best = result;
      found = true;
      break;
    }
  }
  return best;
};
