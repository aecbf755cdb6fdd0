import { execFileSync } from "node:child_process";
import { environment } from "./run.ts";

/** A test's seed: from this variable, to repeat what failed; otherwise of the commit, so that each commit draws anew. */
export const seedOf = (variable: string): number => {
  const given = environment[variable];
  if (given !== undefined) return Number(given);
  return Number.parseInt(execFileSync("git", ["rev-parse", "HEAD"], { cwd: import.meta.dirname, encoding: "utf8" }).slice(0, 8), 16);
};
