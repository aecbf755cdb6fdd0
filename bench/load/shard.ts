import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Trial } from "../trials.ts";
import { cpuOf, minus, type CpuSeconds, type Watched } from "../usage.ts";
import { exitOf, tracked } from "./child.ts";

export interface ShardOrder {
  readonly url: string;
  readonly shard: number;
  readonly saleId: string;
  /** of the buyers' names: nobody comes twice */
  readonly prefix: string;
  /** purchases a call */
  readonly batch: number;
  /** calls on their way */
  readonly calls: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export type ShardMessage =
  | { readonly kind: "begin" }
  | { readonly kind: "end"; readonly count: number; readonly seconds: number }
  | { readonly kind: "broken"; readonly why: string };

const MAIN = fileURLToPath(new URL("shard-main.js", import.meta.url));

/** Loads a shard with batches from a process of its own. */
export const loadShard = async (order: ShardOrder, watched: Watched): Promise<Trial> => {
  const child = tracked(fork(MAIN, [], { stdio: ["ignore", "inherit", "inherit", "ipc"] }));
  const all: Watched = { ...watched, generator: [child.pid ?? 0] };
  try {
    return await new Promise<Trial>((resolve, reject) => {
      let before: Promise<CpuSeconds> | undefined;
      child.on("message", (message: ShardMessage) => {
        if (message.kind === "begin") before = cpuOf(all);
        else if (message.kind === "broken") reject(new Error(message.why));
        else {
          const { count, seconds } = message;
          Promise.all([cpuOf(all), before]).then(
            ([after, begun]) => resolve({ count, seconds, cpuSeconds: minus(after, begun ?? {}) }),
            reject,
          );
        }
      });
      void exitOf(child).then((how) => reject(new Error(`the shard's load ended early: ${how}`)));
      child.send(order);
    });
  } finally {
    child.kill("SIGKILL");
  }
};
