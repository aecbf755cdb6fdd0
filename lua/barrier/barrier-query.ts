import { loadScript, type ScriptRedis } from "../core/script.ts";
import { BarrierAnswer } from "./barrier-adjust.ts";

export const barrierQueryScript = loadScript("barrier-query", import.meta.url);

/** Did the step behind the barrier happen? If not, it never will. */
export const queryBarrier = async (
  redis: ScriptRedis,
  { barrier, ttlS }: { barrier: string; ttlS: number },
): Promise<typeof BarrierAnswer.ok | typeof BarrierAnswer.failure> =>
  (await barrierQueryScript.run(redis, [barrier], [ttlS])) as typeof BarrierAnswer.ok | typeof BarrierAnswer.failure;
