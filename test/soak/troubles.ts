import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { ProgramName, until, type PartEvent, type Stack } from "../../deploy/local/index.ts";
import type { FaultNet } from "../harness/fault-net.ts";
import { FaultKind, type Fault } from "./plan.ts";

/** What tells a request from other traffic, by store. */
const REQUESTS: readonly (readonly [prefix: string, request: RegExp])[] = [
  ["redis", /evalsha/i],
  ["nats", /^H?PUB /m],
  ["postgres", /commit/i],
];

const requestAt = (pair: string): ((bytes: Buffer) => boolean) => {
  const store = pair.split(":")[1] ?? "";
  const request = REQUESTS.find(([prefix]) => store.startsWith(prefix))?.[1] ?? /./;
  return (bytes) => request.test(bytes.toString("latin1"));
};

const CLUSTERED: ReadonlySet<string> = new Set([ProgramName.gateway, ProgramName.workers]);

const signalAll = (pids: readonly number[], name: NodeJS.Signals): void => {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // gone meanwhile
    }
  }
};

/** Does to a stack what the plan says, and counts what was really done. */
export class Troubles {
  readonly done: Record<FaultKind | "wipe", number>;
  readonly #stack: Stack;
  readonly #net: FaultNet;
  readonly #paused = new Set<number>();
  #toWipe: { readonly part: string; readonly folder: string } | undefined;

  constructor(stack: Stack, net: FaultNet) {
    this.#stack = stack;
    this.#net = net;
    this.done = { wipe: 0, ...(Object.fromEntries(Object.values(FaultKind).map((kind) => [kind, 0])) as Record<FaultKind, number>) };
  }

  /** Resolves when the fault is over. */
  async make(fault: Fault, stop: AbortSignal): Promise<void> {
    const { kind, target, forMs } = fault;
    if (kind === FaultKind.kill) this.#kill(target);
    else if (kind === FaultKind.killProcess) await this.#killProcess(target, fault.atMs);
    else if (kind === FaultKind.pause) await this.#pause(target, forMs, stop);
    else if (kind === FaultKind.cut) this.#cut(target);
    else await this.#disturb(kind, target, forMs, stop);
  }

  /** Ends everything that goes on by itself. */
  heal(): void {
    this.#net.heal();
    signalAll([...this.#paused], "SIGCONT");
    this.#paused.clear();
  }

  /** Kills a Redis and takes its folder away before it starts again: what it held is in Postgres, or lost. */
  async wipe(shard: number): Promise<void> {
    const part = `redis-${shard}`;
    const { redis } = await this.#stack.info();
    const folder = redis[shard]?.dir;
    const before = this.#stack.pid(part);
    if (folder === undefined || folder === null || before === undefined) throw new Error(`${part} does not run here`);
    this.#toWipe = { part, folder };
    this.#stack.kill(part);
    await until(() => this.#toWipe === undefined, `${part} to be wiped`);
    this.done.wipe += 1;
    await this.#stack.ready();
  }

  /** Between the death of a part and its next start. */
  readonly onEvent = (event: PartEvent): void => {
    if (event.kind !== "died" || this.#toWipe?.part !== event.part) return;
    rmSync(this.#toWipe.folder, { recursive: true, force: true });
    this.#toWipe = undefined;
  };

  #kill(target: string): void {
    if (this.#stack.pid(target) === undefined) return;
    this.done.kill += 1;
    this.#stack.kill(target);
  }

  #cut(target: string): void {
    this.done.cut += 1;
    this.#net.proxy(target).cut();
  }

  async #killProcess(target: string, draw: number): Promise<void> {
    const [, ...children] = await this.#stack.pids(target);
    const victim = children[draw % Math.max(children.length, 1)];
    if (victim === undefined) return;
    this.done.killProcess += 1;
    signalAll([victim], "SIGKILL");
  }

  async #pause(target: string, forMs: number, stop: AbortSignal): Promise<void> {
    const all = await this.#stack.pids(target);
    // The primary of a cluster goes on: a supervisor does not stop with what it supervises.
    const pids = CLUSTERED.has(target) ? all.slice(1) : all;
    this.done.pause += 1;
    for (const pid of pids) this.#paused.add(pid);
    signalAll(pids, "SIGSTOP");
    await delay(forMs, undefined, { signal: stop }).catch(() => undefined);
    signalAll(pids, "SIGCONT");
    for (const pid of pids) this.#paused.delete(pid);
  }

  async #disturb(
    kind: Exclude<FaultKind, "kill" | "killProcess" | "pause" | "cut">,
    target: string,
    forMs: number,
    stop: AbortSignal,
  ): Promise<void> {
    const proxy = this.#net.proxy(target);
    if (kind === FaultKind.loseAnswer)
      void proxy.loseAnswer(requestAt(target)).then((happened) => {
        if (happened) this.done.loseAnswer += 1;
      });
    else {
      this.done[kind] += 1;
      if (kind === FaultKind.delay) proxy.set({ kind, ms: 40 });
      else if (kind === FaultKind.drip) proxy.set({ kind, bytes: 64, everyMs: 2 });
      else proxy.set({ kind });
    }
    await delay(forMs, undefined, { signal: stop }).catch(() => undefined);
    proxy.set({ kind: "pass" });
  }
}
