import type { CpuSeconds, Watched } from "../usage.ts";
import type { LoadOrder, LoadResult } from "./order.ts";
import { loadFrom } from "./told-load.ts";

/** A load that was sent, with what everybody spent on it. */
export interface Fired {
  readonly result: LoadResult;
  /** of the watched programs and the generator, during the measured part */
  readonly cpuSeconds: CpuSeconds;
}

export const CANNON = "bench/load/cannon-main.js";

/** Sends one load from a process of its own and waits for its end. @throws Error if the generator broke */
export const fire = (order: LoadOrder, watched: Watched): Promise<Fired> => loadFrom("cannon-main.js", { ...order }, watched);
