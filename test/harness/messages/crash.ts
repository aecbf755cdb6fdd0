import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

const PROGRAM = fileURLToPath(new URL("./crashing-buyer.mjs", import.meta.url));

export interface Crash {
  readonly coordinator: string;
  readonly redis: string;
  readonly gid: string;
  readonly stockKey: string;
  readonly query: string;
  readonly branch: string;
  readonly dieAt: "prepared" | "stepped" | "ended";
}

/** Buys in a process of its own that kills itself with -9 at a point of the purchase; resolves when it is dead. */
export const crashBuying = async (crash: Crash): Promise<void> => {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(crash)], { stdio: ["ignore", "inherit", "inherit"] });
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  expect([code, signal]).toEqual([null, "SIGKILL"]);
};
