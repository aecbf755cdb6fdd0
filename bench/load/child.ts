import type { ChildProcess } from "node:child_process";

const children = new Set<ChildProcess>();

/** A load generator, to be ended by `endChildren` if nothing else ends it. */
export const tracked = <T extends ChildProcess>(child: T): T => {
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
};

/** Resolves with words for how it ended. */
export const exitOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, killer) => resolve(killer === null ? `exit code ${code}` : `killed by ${killer}`));
  });

/** Kills every load generator that still runs. */
export const endChildren = async (): Promise<void> => {
  await Promise.all(
    [...children].map((child) => {
      const end = exitOf(child);
      child.kill("SIGKILL");
      return end;
    }),
  );
};
