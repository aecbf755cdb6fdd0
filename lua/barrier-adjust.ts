import { loadScript, type ScriptRedis } from "./script.ts";

export const barrierAdjustScript = loadScript("barrier-adjust");
export const barrierQueryScript = loadScript("barrier-query");

export const barrierRevertScript = loadScript("barrier-revert");

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
}

/** Changes a stock once per barrier. Repeating it after a lost answer is safe: that is what it is for. */
export const adjustBarrier = async (redis: ScriptRedis, request: AdjustBarrier): Promise<BarrierAnswer> =>
  (await barrierAdjustScript.run(
    redis,
    [request.stockKey, request.barrier, request.compensates ?? request.barrier],
    [request.amount, request.ttlS],
  )) as BarrierAnswer;

/** Did the step behind the barrier happen? If not, it never will. */
export const queryBarrier = async (
  redis: ScriptRedis,
  { barrier, ttlS }: { barrier: string; ttlS: number },
): Promise<typeof BarrierAnswer.ok | typeof BarrierAnswer.failure> =>
  (await barrierQueryScript.run(redis, [barrier], [ttlS])) as typeof BarrierAnswer.ok | typeof BarrierAnswer.failure;

/** Takes a step back whose message has failed. @returns whether there was one to take back */
export const revertBarrier = async (redis: ScriptRedis, request: Omit<AdjustBarrier, "compensates">): Promise<boolean> =>
  (await barrierRevertScript.run(redis, [request.stockKey, request.barrier], [request.amount, request.ttlS])) === BarrierAnswer.ok;
