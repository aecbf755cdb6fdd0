import { readFile } from "node:fs/promises";

/** By program: the process ids that are counted as one. */
export type Watched = Readonly<Record<string, readonly number[]>>;
export type CpuSeconds = Readonly<Record<string, number>>;

/** Linux counts in hundredths of a second towards user space whatever the kernel's tick is (USER_HZ). */
const TICKS_A_SECOND = 100;
const PAGE_BYTES = 4_096;

/** User + system time of a process so far; 0 if it is gone. Its threads are in it, its children are not. */
export const cpuSecondsOf = async (pid: number): Promise<number> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name may hold spaces and parentheses, so counted from its end: state is the first field, utime the twelfth.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return stat === "" ? 0 : (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const perProgram = async (watched: Watched, of: (pid: number) => Promise<number>): Promise<Record<string, number>> =>
  Object.fromEntries(await Promise.all(Object.entries(watched).map(async ([name, pids]) => [name, sum(await Promise.all(pids.map(of)))])));

export const cpuOf = (watched: Watched): Promise<CpuSeconds> => perProgram(watched, cpuSecondsOf);

/** Resident memory, each process for itself: what processes share is counted in each. */
export const memoryOf = (watched: Watched): Promise<Record<string, number>> =>
  perProgram(watched, async (pid) => {
    const statm = await readFile(`/proc/${pid}/statm`, "utf8").catch(() => "");
    return Number(statm.split(" ")[1] ?? 0) * PAGE_BYTES;
  });

export const minus = (after: CpuSeconds, before: CpuSeconds): CpuSeconds =>
  Object.fromEntries(Object.entries(after).map(([name, seconds]) => [name, Math.max(0, seconds - (before[name] ?? 0))]));

export const plus = (one: CpuSeconds, other: CpuSeconds): CpuSeconds => ({
  ...one,
  ...Object.fromEntries(Object.entries(other).map(([name, seconds]) => [name, (one[name] ?? 0) + seconds])),
});

export const total = (seconds: CpuSeconds): number => sum(Object.values(seconds));
