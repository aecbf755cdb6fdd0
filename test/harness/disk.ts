import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

const MB = 2 ** 20;
/** Room beside what is there already: Postgres makes its log in files of 16 MB. */
const ROOM_MB = 40;
const BALLAST = "ballast";

const run = (command: string, ...args: readonly string[]): string => execFileSync(command, args, { encoding: "utf8", stdio: "pipe" });

/** Whether a file system may be mounted here: root, and not in a container that forbids it. @returns why not */
export const whyNoMount = (folder: string): string | undefined => {
  try {
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder);
    run("umount", folder);
    return undefined;
  } catch (error) {
    return (error as { stderr?: string }).stderr?.trim() ?? (error as Error).message;
  }
};

/** A small file system in the place of a folder, with what the folder held. */
export class SmallDisk {
  readonly #folder: string;

  /** @param folder of a store that does not run now */
  constructor(folder: string) {
    this.#folder = folder;
    const held = `${folder}.held`;
    const sizeMb = Math.ceil(Number(run("du", "-sm", folder).split("\t")[0])) + ROOM_MB;
    run("mv", folder, held);
    run("mkdir", folder);
    run("mount", "-t", "tmpfs", "-o", `size=${sizeMb}m,mode=0700`, "tmpfs", folder);
    run("cp", "-a", `${held}/.`, folder);
    run("chown", `--reference=${held}`, folder);
    rmSync(held, { recursive: true });
  }

  /** Leaves no byte. */
  fill(): void {
    const file = openSync(join(this.#folder, BALLAST), "w");
    const block = Buffer.alloc(MB);
    try {
      for (let size = block.length; size >= 1; size = Math.floor(size / 2)) {
        try {
          for (;;) if (writeSync(file, block, 0, size) < size) break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(join(this.#folder, BALLAST), { force: true });
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#folder);
    return bavail * bsize;
  }

  /** The folder can be removed then, while a server still uses what it has open. */
  unmount(): void {
    run("umount", "-l", this.#folder);
  }
}
