import { cp, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { until, type Fair } from "./index.ts";

/** Longer than any of the changes below takes: the supervisor starts a dead server again only then. */
export const RESTART_AFTER_MS = 3_000;

export const folderOf = async (fair: Fair, part: string): Promise<string> => {
  const { redis, nats } = await fair.stack.info();
  const dir = part === "nats" ? nats.dir : redis[Number(part.split("-")[1])]?.dir;
  if (typeof dir !== "string") throw new Error(`${part} has no folder`);
  return dir;
};

/** Kills a server with -9, changes its folder while it is dead, and resolves when it has been started again. */
export const restartWith = async (fair: Fair, parts: readonly string[], change: (dir: string) => Promise<void>): Promise<void> => {
  const before = parts.map((part) => fair.stack.pid(part));
  const folders = await Promise.all(parts.map((part) => folderOf(fair, part)));
  for (const part of parts) fair.stack.kill(part);
  await until(() => parts.every((part) => fair.stack.pid(part) === undefined), `${parts.join(", ")} to be dead`, 10_000);
  await Promise.all(folders.map((dir) => change(dir)));
  if (parts.some((part) => fair.stack.pid(part) !== undefined)) throw new Error("a server was started again before its folder was changed");
  await until(
    () => parts.every((part, n) => fair.stack.pid(part) !== undefined && fair.stack.pid(part) !== before[n]),
    `${parts.join(", ")} to be started again`,
    30_000,
  );
};

export const empty = (dir: string): Promise<void> => rm(dir, { recursive: true });

/** Keeps a copy of what is there now, as a crash would have left it. */
export const keepCopy = (dir: string): Promise<void> => cp(dir, `${dir}.older`, { recursive: true });

export const restoreCopy = async (dir: string): Promise<void> => {
  await rm(dir, { recursive: true });
  await rename(`${dir}.older`, dir);
};

const incrementOf = async (dir: string): Promise<string> => {
  const folder = join(dir, "appendonlydir");
  const files = (await readdir(folder)).filter((file) => file.endsWith(".incr.aof"));
  return join(folder, files.toSorted().at(-1) as string);
};

/** Cuts the append-only file at a share of its length. */
export const truncateAof = async (dir: string, share: number): Promise<void> => {
  const file = await incrementOf(dir);
  await truncate(file, Math.floor((await stat(file)).size * share));
};
