import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("./old-service.py", import.meta.url));

export interface OldService {
  readonly url: string;
  stop(): Promise<void>;
}

/** Somebody's old Python service, in a process of its own; undefined, with a line that says why, where there is no Python. */
export const startOldService = async (): Promise<OldService | undefined> => {
  const child = spawn("python3", [PROGRAM, "0"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(child, "spawn");
  } catch (error) {
    process.stderr.write(`SKIPPED a Python service that speaks dtm's old way: ${(error as Error).message}\n`);
    return undefined;
  }
  const exited = once(child, "exit");
  const [port] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
};
