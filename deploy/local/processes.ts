import { readdir, readFile } from "node:fs/promises";

/** Parents of all processes, by process id; a zombie counts as gone. */
const parents = async (): Promise<ReadonlyMap<number, number>> => {
  const found = new Map<number, number>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    // `pid (name) state ppid ...`; the name may hold spaces and parentheses.
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state !== undefined && state !== "Z" && parent !== undefined) found.set(Number(name), Number(parent));
  }
  return found;
};

/** The process (first) and everything below it, in order of process id; empty if it is gone. */
export const processTree = async (pid: number): Promise<readonly number[]> => {
  const all = await parents();
  if (!all.has(pid)) return [];
  const tree = new Set([pid]);
  for (let grown = true; grown;) {
    grown = false;
    for (const [child, parent] of all) {
      if (!tree.has(parent) || tree.has(child)) continue;
      tree.add(child);
      grown = true;
    }
  }
  return [pid, ...[...tree].filter((other) => other !== pid).sort((a, b) => a - b)];
};

/** Which of these processes still run (zombies do not). */
export const alive = async (pids: readonly number[]): Promise<readonly number[]> => {
  const all = await parents();
  return pids.filter((pid) => all.has(pid));
};

/** Sends a signal to a process, or with a negative id to a process group; one that is gone is fine. */
export const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
};
