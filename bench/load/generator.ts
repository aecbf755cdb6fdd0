import type { CpuSeconds, Watched } from "../usage.ts";
import type { LoadOrder, LoadResult } from "./order.ts";
import { loadFrom } from "./forked-load.ts";

/** A load that was sent, with what everybody spent on it. */
export interface Generated {
  readonly result: LoadResult;
  /** of the watched programs and the generator, during the measured part */
  readonly cpuSeconds: CpuSeconds;
}

export const GENERATOR = "bench/load/generator-main.js";

/** Sends one load from a process of its own and waits for its end. @throws Error if the generator broke */
export const generate = (order: LoadOrder, watched: Watched): Promise<Generated> => loadFrom("generator-main.js", { ...order }, watched);
