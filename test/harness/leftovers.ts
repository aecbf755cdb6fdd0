import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { alive } from "../../deploy/local/index.ts";

/** Processes that carry the run's id in their environment. */
export const processesOf = async (run: string): Promise<readonly number[]> => {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
    if (environment.split("\0").includes(`DOORBUSTER_RUN=${run}`)) found.push(Number(name));
  }
  return alive(found);
};

/** Whether anybody listens there. */
export const isListening = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

/** The words of a process's command line. */
export const commandLine = async (pid: number): Promise<readonly string[]> =>
  (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").filter((word) => word !== "");
