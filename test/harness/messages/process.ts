import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { processTree, signal } from "../../../deploy/local/index.ts";
import type { CoordinatorAddresses } from "../../../coordinator/index.ts";
import { environmentOf, type Stores, type Variables } from "./coordinator.ts";

const MAIN = fileURLToPath(new URL("../../../dist/coordinator/main.js", import.meta.url));

/** A coordinator as its own process (dist), so that it can be killed and paused. */
export class CoordinatorProcess {
  readonly #child: ChildProcess;
  readonly url: string;
  readonly #metrics: string;

  private constructor(child: ChildProcess, { url, metrics }: CoordinatorAddresses) {
    this.#child = child;
    this.url = url;
    this.#metrics = metrics;
  }

  static start(stores: Stores, variables: Variables = {}, shards?: number): Promise<CoordinatorProcess> {
    return CoordinatorProcess.launch(environmentOf(stores, variables, shards));
  }

  static async launch(environment: Variables): Promise<CoordinatorProcess> {
    const child = spawn(process.execPath, [MAIN], {
      // standard input is a pipe from us: should this process die, so does it
      stdio: ["pipe", "pipe", "inherit"],
      env: { PATH: "/usr/bin:/bin", DOORBUSTER_EXIT_WITH_PARENT: "true", ...environment },
    });
    const lines = createInterface({ input: child.stdout });
    const addresses = await new Promise<CoordinatorAddresses>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the coordinator ended with ${code}`)));
      lines.on("line", (line) => {
        const { url, metrics } = JSON.parse(line) as Partial<CoordinatorAddresses>;
        if (url !== undefined && metrics !== undefined) resolve({ url, metrics });
      });
    });
    return new CoordinatorProcess(child, addresses);
  }

  /** to the primary and the process below it */
  async signal(name: NodeJS.Signals): Promise<void> {
    for (const pid of await processTree(this.#child.pid as number)) signal(pid, name);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.signal("SIGKILL");
    await once(this.#child, "exit");
  }

  /** calls of branches that it has made and that have ended */
  async branchCalls(): Promise<number> {
    const metrics = await (await fetch(`${this.#metrics}/metrics`)).text();
    const counts = metrics.matchAll(/^doorbuster_message_calls_total\{kind="branch",.*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** whether it holds a shard's lease, as it says itself */
  async holds(shard: number): Promise<boolean> {
    const metrics = await (await fetch(`${this.#metrics}/metrics`)).text();
    return metrics.includes(`doorbuster_shard_lease{shard="${shard}"} 1`);
  }
}
