import { Batches } from "../core/batches.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const barrierAdjustScript = loadScript("barrier-adjust", import.meta.url);

export const BarrierAnswer = {
  ok: "OK",
  /** done before: nothing changed, and that is a success */
  duplicate: "DUPLICATE",
  /** was declared not to happen by a query-back or a compensation: nothing changed */
  rollback: "ROLLBACK",
  /** the stock is missing or too low: nothing written */
  failure: "FAILURE",
  /** the step to compensate never happened: it is barred from happening */
  skipped: "SKIPPED",
  /** the stock is something else than a whole number: a mistake, nothing was written */
  notANumber: "NOT_A_NUMBER",
} as const;
export type BarrierAnswer = (typeof BarrierAnswer)[keyof typeof BarrierAnswer];

export interface AdjustBarrier {
  readonly stockKey: string;
  /** keys.ts, barrierKey */
  readonly barrier: string;
  /** barrier of the step that this one compensates */
  readonly compensates?: string | undefined;
  /** added to the stock; below zero takes */
  readonly amount: number;
  readonly ttlS: number;
  /** above zero: a `FAILURE` is final: it bars the step, by its barrier, in the same script, for so long */
  readonly refusalTtlS: number;
}

const MOST_STEPS = 256;

const adjustTogether = async (redis: ScriptRedis, steps: readonly AdjustBarrier[]): Promise<readonly BarrierAnswer[]> =>
  (await barrierAdjustScript.run(
    redis,
    steps.flatMap(({ stockKey, barrier, compensates }) => [stockKey, barrier, compensates ?? barrier]),
    steps.flatMap(({ amount, ttlS, refusalTtlS }) => [amount, ttlS, refusalTtlS]),
  )) as BarrierAnswer[];

type Steps = Batches<AdjustBarrier, BarrierAnswer>;
const batchesOf = new WeakMap<ScriptRedis, Steps>();

const stepsOf = (redis: ScriptRedis): Steps => {
  const known = batchesOf.get(redis);
  if (known !== undefined) return known;
  const steps = new Batches<AdjustBarrier, BarrierAnswer>((items) => adjustTogether(redis, items), MOST_STEPS);
  batchesOf.set(redis, steps);
  return steps;
};

/** In Redis Cluster keys of different slots may not share a script: there each step travels alone. */
const isCluster = (redis: ScriptRedis): boolean => "isCluster" in redis && redis.isCluster === true;

/**
 * Changes a stock once per barrier. Repeating it after a lost answer is safe: that is what it is for. Steps of one turn
 * of the event loop, on one connection, go out in one call.
 */
export const adjustBarrier = async (redis: ScriptRedis, step: AdjustBarrier): Promise<BarrierAnswer> => {
  const answer = isCluster(redis) ? (await adjustTogether(redis, [step]))[0] : await stepsOf(redis).add(step);
  if (answer === undefined) throw new Error("no answer");
  if (answer === BarrierAnswer.notANumber) throw new Error(`the stock at ${step.stockKey} is not a number`);
  return answer;
};
