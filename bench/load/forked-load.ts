import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { cpuOf, minus, type CpuSeconds, type Watched } from "../usage.ts";
import { exitOf, tracked } from "./child.ts";

interface Message {
  readonly kind: string;
}

/**
 * Runs a generator in a process of its own: sends it its order, reads everybody's CPU time when it says `begin` and when
 * it says `end`, and gives back what `end` said. `broken` and an early end are errors.
 */
export const loadFrom = async <T>(
  main: string,
  order: Readonly<Record<string, unknown>>,
  watched: Watched,
): Promise<T & { cpuSeconds: CpuSeconds }> => {
  const child = tracked(fork(fileURLToPath(new URL(main, import.meta.url)), [], { stdio: ["ignore", "ignore", "inherit", "ipc"] }));
  const all: Watched = { ...watched, generator: [child.pid ?? 0] };
  try {
    return await new Promise((resolve, reject) => {
      let before: Promise<CpuSeconds> | undefined;
      child.on("message", ({ kind, ...sent }: Message & T & { readonly why?: string }) => {
        if (kind === "begin") before = cpuOf(all);
        else if (kind === "broken") reject(new Error(`${main}: ${sent.why}`));
        // It waits to be killed, so its own time can still be read.
        else if (kind === "end")
          Promise.all([cpuOf(all), before]).then(
            ([after, begun]) => resolve({ ...(sent as unknown as T), cpuSeconds: minus(after, begun ?? {}) }),
            reject,
          );
      });
      void exitOf(child).then((how) => reject(new Error(`${main} ended early: ${how}`)));
      child.send(order);
    });
  } finally {
    child.kill("SIGKILL");
  }
};
