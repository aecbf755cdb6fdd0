import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { cpuOf, minus, type CpuSeconds, type Watched } from "../usage.ts";
import { exitOf, tracked } from "./child.ts";
import type { CannonMessage, LoadOrder, LoadResult } from "./order.ts";

/** A load that was sent, with what everybody spent on it. */
export interface Fired {
  readonly result: LoadResult;
  /** of the watched programs and the generator, during the measured part */
  readonly cpuSeconds: CpuSeconds;
}

export const CANNON = "bench/load/cannon-main.js";
const MAIN = fileURLToPath(new URL("cannon-main.js", import.meta.url));

/** Sends one load from a process of its own and waits for its end. @throws Error if the generator broke */
export const fire = async (order: LoadOrder, watched: Watched): Promise<Fired> => {
  const child = tracked(fork(MAIN, [], { stdio: ["ignore", "inherit", "inherit", "ipc"] }));
  const all: Watched = { ...watched, generator: [child.pid ?? 0] };
  try {
    return await new Promise<Fired>((resolve, reject) => {
      let before: Promise<CpuSeconds> | undefined;
      const finish = async (result: LoadResult): Promise<void> => {
        // Asked while the generator still waits for its disconnect, so its own time can be read.
        const after = await cpuOf(all);
        resolve({ result, cpuSeconds: minus(after, (await before) ?? {}) });
      };
      child.on("message", (message: CannonMessage) => {
        if (message.kind === "begin") before = cpuOf(all);
        else if (message.kind === "end") finish(message.result).catch(reject);
        else if (message.kind === "broken") reject(new Error(`the load generator broke: ${message.why}`));
      });
      void exitOf(child).then((how) => reject(new Error(`the load generator ended early: ${how}`)));
      child.send(order);
    });
  } finally {
    child.kill("SIGKILL");
  }
};
