import { fileURLToPath } from "node:url";
import { freePort, httpReady, Part, settled, type Run } from "../../deploy/local/index.ts";
import type { Watched } from "../usage.ts";
import type { BareAnswer } from "./answer-bytes.ts";

/** The bare reference, running. */
export interface Bare {
  readonly host: string;
  readonly port: number;
  readonly watched: Watched;
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL("bare-main.js", import.meta.url));
const WITHIN_MS = 30_000;
let started = 0;

/** What it does before it answers: nothing; look at path and headers; that, ask for the client's address and compute a ticket's HMAC. */
export type BareWork = "nothing" | "reads" | "signs";

/** Starts the bare server in as many processes as the engine has, on one port, as the engine's processes share theirs. */
export const startBare = async (run: Run, answer: BareAnswer, processes: number, work: BareWork = "nothing"): Promise<Bare> => {
  const port = await freePort();
  const parts = Array.from(
    { length: processes },
    () =>
      new Part(run, {
        name: `bare-${(started += 1)}`,
        command: process.execPath,
        args: [MAIN, String(port), JSON.stringify(answer), work],
        isReady: () => httpReady(`http://127.0.0.1:${port}/healthz`),
        readyWithinMs: WITHIN_MS,
        stopSignal: "SIGKILL",
        stopWithinMs: WITHIN_MS,
      }),
  );
  // One after the other: whoever answers on the shared port may be another process.
  for (const part of parts) await part.start();
  return {
    host: "127.0.0.1",
    port,
    watched: { bare: parts.flatMap(({ pid }) => pid ?? []) },
    stop: async () => void (await settled(parts.map((part) => part.stop()))),
  };
};
