import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const execute = promisify(execFile);

/**
 * Removes System V segments that these processes made and nobody uses any more. A Postgres that was killed leaves one
 * (56 bytes, its lock on the data folder), which only the next start in the same folder would take away.
 */
export const removeSegments = async (makers: ReadonlySet<number>): Promise<void> => {
  const table = await readFile("/proc/sysvipc/shm", "utf8").catch(() => "");
  // key shmid perms size cpid lpid nattch ...
  for (const line of table.split("\n").slice(1)) {
    const [, id, , , maker, , users] = line.trim().split(/\s+/);
    if (id === undefined || !makers.has(Number(maker)) || users !== "0") continue;
    // Best effort: a missing ipcrm must not turn a clean end into a failure.
    await execute("ipcrm", ["-m", id]).catch(() => undefined);
  }
};
