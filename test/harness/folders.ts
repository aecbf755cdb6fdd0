import { cp, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { until, type StackWorld } from "./index.ts";

/** Longer than any of the changes below takes: the supervisor starts a dead server again only then. */
export const RESTART_AFTER_MS = 3_000;

export const folderOf = async (world: StackWorld, part: string): Promise<string> => {
  const { redis, nats } = await world.stack.info();
  const dir = part === "nats" ? nats.dir : redis[Number(part.split("-")[1])]?.dir;
  if (typeof dir !== "string") throw new Error(`${part} has no folder`);
  return dir;
};

/** Kills a server with -9, changes its folder while it is dead, and resolves when it has been started again. */
export const restartWith = async (world: StackWorld, parts: readonly string[], change: (dir: string) => Promise<void>): Promise<void> => {
  const before = parts.map((part) => world.stack.pid(part));
  const folders = await Promise.all(parts.map((part) => folderOf(world, part)));
  for (const part of parts) world.stack.kill(part);
  await until(() => parts.every((part) => world.stack.pid(part) === undefined), `${parts.join(", ")} to be dead`, 10_000);
  await Promise.all(folders.map((dir) => change(dir)));
  if (parts.some((part) => world.stack.pid(part) !== undefined))
    throw new Error("a server was started again before its folder was changed");
  await until(
    () => parts.every((part, n) => world.stack.pid(part) !== undefined && world.stack.pid(part) !== before[n]),
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
