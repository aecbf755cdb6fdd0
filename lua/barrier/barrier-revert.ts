import { loadScript, type ScriptRedis } from "../core/script.ts";
import { BarrierAnswer, type AdjustBarrier } from "./barrier-adjust.ts";

export const barrierRevertScript = loadScript("barrier-revert", import.meta.url);

/** Takes a step back whose message has failed. @returns whether there was one to take back */
export const revertBarrier = async (redis: ScriptRedis, request: Omit<AdjustBarrier, "compensates" | "refusalTtlS">): Promise<boolean> =>
  (await barrierRevertScript.run(redis, [request.stockKey, request.barrier], [request.amount, request.ttlS])) === BarrierAnswer.ok;
