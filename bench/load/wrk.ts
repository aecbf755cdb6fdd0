import { execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { cpuOf, cpuSecondsOf, minus, type CpuSeconds, type Watched } from "../usage.ts";
import type { Pause } from "./order.ts";
import { exitOf, tracked } from "./child.ts";

export interface WrkOrder {
  readonly url: string;
  readonly method: "GET" | "POST";
  /** one path: the same again and again; many: one after the other, from the start again when they are used up */
  readonly paths: Iterable<string>;
  readonly connections: number;
  readonly pipelining: number;
  readonly pause?: Pause | undefined;
  /** whole seconds: wrk takes no others */
  readonly seconds: number;
  /** where the list of paths is written */
  readonly folder: string;
}

export interface WrkResult {
  readonly seconds: number;
  readonly answered: number;
  /** answers with a status above 399 among them */
  readonly above399: number;
  readonly failed: number;
  readonly cpuSeconds: CpuSeconds;
}

const SCRIPT = fileURLToPath(new URL("wrk.lua", import.meta.url));
const NO_PAUSE: Pause = { share: 0, mostMs: 0 };
const WATCH_MS = 50;
const summarySchema = z.object({ micros: z.number(), answered: z.number(), above399: z.number(), failed: z.number() });

/** First line of `wrk -v`, or undefined where it is not installed. (It exits with 1.) */
export const wrkVersion = async (): Promise<string | undefined> => {
  const printed = await promisify(execFile)("wrk", ["-v"]).catch((error: { stdout?: string }) => error);
  return printed.stdout?.split("\n")[0]?.split(" [")[0] || undefined;
};

export const wrkCommand = ({ connections, pipelining }: Pick<WrkOrder, "connections" | "pipelining">): string =>
  `wrk -t1 -c${connections}${pipelining > 1 ? `, pipelined ${pipelining}` : ""}`;

let lists = 0;

/** Sends one load with wrk's one thread. @throws Error if it ends in another way than it should */
export const wrk = async (order: WrkOrder, watched: Watched): Promise<WrkResult> => {
  const list = join(order.folder, `paths-${(lists += 1)}`);
  await writeFile(list, `${[...order.paths].join("\n")}\n`);
  const { pause = NO_PAUSE } = order;
  const child = tracked(
    spawn(
      "wrk",
      [
        "-t1",
        `-c${order.connections}`,
        `-d${order.seconds}s`,
        "-s",
        SCRIPT,
        order.url,
        "--",
        order.method,
        list,
        String(order.pipelining),
        String(pause.share),
        String(pause.mostMs),
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    ),
  );
  const all: Watched = { ...watched, generator: [child.pid ?? 0] };
  let before: Promise<CpuSeconds> | undefined;
  let latest = 0;
  let summary = "";
  // Its own time can be read only while it lives (later it is 0), so it is looked at until it is gone.
  const pid = child.pid ?? 0;
  const watch = setInterval(() => void cpuSecondsOf(pid).then((now) => (latest = Math.max(latest, now))), WATCH_MS);
  try {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line === "ready") before = cpuOf(all);
      else if (line.startsWith("{")) summary = line;
    });
    const how = await exitOf(child);
    if (how !== "exit code 0" || summary === "") throw new Error(`wrk ended with ${how} and without a summary`);
    const { micros, ...counts } = summarySchema.parse(JSON.parse(summary));
    const after = { ...(await cpuOf(watched)), generator: latest };
    const cpuSeconds = minus(after, (await before) ?? {});
    return { seconds: micros / 1e6, ...counts, cpuSeconds };
  } finally {
    clearInterval(watch);
    child.kill("SIGKILL");
  }
};
