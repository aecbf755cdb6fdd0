import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, constants, statSync } from "node:fs";
import { chmod, mkdir, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeSegments } from "./shared-memory.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface RunOptions {
  /** the starter's environment: where programs are looked for, and what our programs inherit */
  readonly environment: Environment;
  /** called with what happens, one line each */
  readonly say: (line: string) => void;
  /** absolute paths of files outside the folder that go with the run */
  readonly files?: readonly string[];
  /** asked at every launch of a part, by its name: variables that only this launch gets (a crash point, a shifted clock) */
  readonly launchEnvironment?: (part: string) => Environment;
}

/** What a run ends by force: its parts (part.ts). */
interface Killable {
  /** SIGKILL; resolves when it and the processes below it are gone */
  kill(): Promise<void>;
}

/** Everything that belongs together and goes together: an id, a private folder, and a reaper that outlives a kill -9. */
export interface Run {
  readonly id: string;
  /** private data folder; `logs/` in it has a file for each part */
  readonly folder: string;
  readonly environment: Environment;
  readonly say: (line: string) => void;
  readonly launchEnvironment: (part: string) => Environment;
  /** every part that was made, in the order of making */
  readonly parts: Set<Killable>;
  /** every process that a part was */
  readonly pids: Set<number>;
  /** aborted when the run is to end: nothing starts any more */
  readonly ending: AbortSignal;
  logFile(part: string): string;
  /** lets nothing start any more and kills what is still starting */
  abort(): Promise<void>;
  /** kills what still runs, removes the folder and sends the reaper home */
  end(): Promise<void>;
}

const isRoot = (): boolean => userInfo().uid === 0;

/** Whether every user may pass through the folder and all that it lies in. */
const isPassable = (folder: string): boolean => {
  for (let path = folder; ; path = dirname(path)) {
    if ((statSync(path).mode & constants.S_IXOTH) === 0) return false;
    if (path === dirname(path)) return true;
  }
};

/** Postgres refuses to run as root, so its user must be able to reach the folder. */
const parentFolder = (): string => (isRoot() && !isPassable(tmpdir()) ? "/tmp" : tmpdir());

const startReaper = (id: string, folder: string, files: readonly string[]): ChildProcess => {
  const script = fileURLToPath(new URL("reaper.sh", import.meta.url));
  accessSync(script, constants.R_OK);
  // Its own session, so that a Ctrl-C in the terminal does not reach it; without DOORBUSTER_RUN, or it would find itself.
  const reaper = spawn("/bin/sh", [script, id, folder, ...files], {
    detached: true,
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdio: ["pipe", "ignore", "ignore"],
  });
  reaper.unref();
  return reaper;
};

const exited = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once("exit", () => resolve());
  });

/** Begins a run. Nothing of it stays: `end` removes it, and after a kill -9 of this process the reaper does. */
export const beginRun = async (options: RunOptions): Promise<Run> => {
  const files = options.files ?? [];
  const id = randomBytes(9).toString("hex");
  const folder = join(parentFolder(), `doorbuster-${id}`);
  const reaper = startReaper(id, folder, files);
  await mkdir(folder);
  // A server that runs as another user has to pass, but not to look around.
  await chmod(folder, 0o711);
  await mkdir(join(folder, "logs"), { mode: 0o700 });
  const parts = new Set<Killable>();
  const pids = new Set<number>();
  const ending = new AbortController();
  const abort = async (): Promise<void> => {
    ending.abort(new Error("the run is ending"));
    await Promise.all([...parts].map((part) => part.kill()));
  };
  return {
    id,
    folder,
    environment: options.environment,
    say: options.say,
    launchEnvironment: options.launchEnvironment ?? (() => ({})),
    parts,
    pids,
    ending: ending.signal,
    abort,
    logFile: (part) => join(folder, "logs", `${part}.log`),
    end: async () => {
      await abort();
      await removeSegments(pids);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      await Promise.all(files.map((file) => rm(file, { force: true })));
      reaper.ref();
      reaper.stdin?.end("done\n");
      await exited(reaper);
    },
  };
};
