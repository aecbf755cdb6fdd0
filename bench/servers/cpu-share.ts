import { access, mkdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { randomBytes } from "node:crypto";

/** Linux lends a group no less than 1 ms at a time (kernel documentation, sched-bwc). */
const LEAST_US = 1_000;
/** at least; a smaller share than a twentieth takes longer ones */
const PERIOD_US = 20_000;
const ROOT = "/sys/fs/cgroup";

/** This machine does not let us. */
export class NotConfined extends Error {
  override readonly name = "NotConfined";
}

/** Processes that get no more than a part of one core. */
export interface CpuShare {
  /** to be called when they have ended */
  end(): Promise<void>;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Confines each of these processes, by itself, to a share of one core, as a slower machine would. Needs Linux's control
 * groups (version 2, or 1) and the right to make one.
 * @param share of one core, at least 0.001
 * @throws NotConfined
 */
export const confine = async (pids: readonly number[], share: number): Promise<CpuShare> => {
  const isSecond = await exists(join(ROOT, "cgroup.controllers"));
  const parent = isSecond ? ROOT : join(ROOT, "cpu");
  const quotaUs = Math.max(LEAST_US, Math.round(PERIOD_US * share));
  const periodUs = Math.round(quotaUs / share);
  const groups: string[] = [];
  const end = async (): Promise<void> => {
    for (const group of groups) await rmdir(group);
  };
  try {
    if (isSecond) await writeFile(join(ROOT, "cgroup.subtree_control"), "+cpu");
    for (const pid of pids) {
      const group = join(parent, `doorbuster-bench-${randomBytes(6).toString("hex")}`);
      await mkdir(group);
      groups.push(group);
      if (isSecond) await writeFile(join(group, "cpu.max"), `${quotaUs} ${periodUs}`);
      else {
        await writeFile(join(group, "cpu.cfs_period_us"), String(periodUs));
        await writeFile(join(group, "cpu.cfs_quota_us"), String(quotaUs));
      }
      await writeFile(join(group, "cgroup.procs"), String(pid));
    }
  } catch (error) {
    await end().catch(() => undefined);
    throw new NotConfined(`no share of a core could be set: ${(error as Error).message}`, { cause: error });
  }
  return { end };
};
