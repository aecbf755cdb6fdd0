import { readFile } from "node:fs/promises";

/** Which of these processes are stopped (SIGSTOP). */
export const stoppedOf = async (pids: readonly number[]): Promise<readonly number[]> => {
  const states = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      // `pid (name) state ...`; the name may hold spaces and parentheses
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[0];
    }),
  );
  return pids.filter((_, n) => states[n] === "T");
};
