import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { cpuOf, minus, type CpuSeconds, type Watched } from "../usage.ts";
import { exitOf, tracked } from "./child.ts";
import type { Sent } from "./send.ts";

export interface AutocannonOrder {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly connections: number;
  readonly pipelining: number;
  /** threads */
  readonly workers: number;
  readonly seconds: number;
}

export const autocannonCommand = ({ connections, pipelining, workers }: AutocannonOrder): string =>
  `autocannon -c ${connections} -p ${pipelining} -w ${workers}`;

const MAIN = fileURLToPath(new URL("autocannon-main.js", import.meta.url));
const messageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("begin") }),
  z.object({ kind: z.literal("end"), seconds: z.number(), count: z.number(), refused: z.number(), failed: z.number() }),
  z.object({ kind: z.literal("broken"), why: z.string() }),
]);

/** One load by autocannon. Its own rate is computed from whole seconds; here from its duration. */
export const autocannonLoad = async ({ seconds, ...order }: AutocannonOrder, watched: Watched): Promise<Sent> => {
  const child = tracked(fork(MAIN, [], { stdio: ["ignore", "ignore", "inherit", "ipc"] }));
  const all: Watched = { ...watched, generator: [child.pid ?? 0] };
  try {
    return await new Promise<Sent>((resolve, reject) => {
      let before: Promise<CpuSeconds> | undefined;
      child.on("message", (text: unknown) => {
        const message = messageSchema.parse(text);
        if (message.kind === "begin") before = cpuOf(all);
        else if (message.kind === "broken") reject(new Error(`autocannon: ${message.why}`));
        else {
          const { kind: _kind, ...sent } = message;
          Promise.all([cpuOf(all), before]).then(([after, begun]) => resolve({ ...sent, cpuSeconds: minus(after, begun ?? {}) }), reject);
        }
      });
      void exitOf(child).then((how) => reject(new Error(`autocannon ended early: ${how}`)));
      child.send({ ...order, duration: seconds });
    });
  } finally {
    child.kill("SIGKILL");
  }
};
