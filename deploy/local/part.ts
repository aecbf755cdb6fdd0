import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { logReason } from "./log-reason.ts";
import { alive, processTree, signal } from "./processes.ts";
import type { Run } from "./run.ts";
import { until } from "./wait.ts";

export interface PartOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** added to PATH, HOME, LC_ALL and DOORBUSTER_RUN */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** run as this user; only root can */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** makes what the part needs before it starts: its folder, if that is missing */
  readonly prepare?: () => Promise<void>;
  readonly isReady: () => Promise<boolean>;
  /** the last step of a start, when it is ready: what an empty server needs */
  readonly afterReady?: () => Promise<void>;
  readonly readyWithinMs: number;
  /** asks for an orderly end */
  readonly stopSignal: NodeJS.Signals;
  /** after this long an orderly end is given up and the part is killed */
  readonly stopWithinMs: number;
}

const LOG_TAIL_LINES = 15;
/** A JSON line with a stack trace fills a screen. */
const LOG_LINE_SHOWN = 300;
/** Rarer than other waits: the question costs a connection, and what is asked needs the processor to start. */
const READY_EVERY_MS = 40;
const KILL_WITHIN_MS = 10_000;
/** Who starts it wants to know after so long what it waits for, and then whenever that is something else. */
const SAY_AFTER_MS = 3_000;

/** One server or program as a child process, in a session of its own, with its output in the run's log folder. */
export class Part {
  readonly name: string;
  readonly #run: Run;
  readonly #options: PartOptions;
  #child: ChildProcess | undefined;
  #end: Promise<string> = Promise.resolve("never started");

  constructor(run: Run, options: PartOptions) {
    this.name = options.name;
    this.#run = run;
    this.#options = options;
    run.parts.add(this);
  }

  /** process id, or undefined while it does not run */
  get pid(): number | undefined {
    return this.#isRunning() ? this.#child?.pid : undefined;
  }

  /** the process and those below it */
  async pids(): Promise<readonly number[]> {
    return this.pid === undefined ? [] : processTree(this.pid);
  }

  isReady(): Promise<boolean> {
    return this.#options.isReady();
  }

  /** resolves with words for how it ended, e.g. "killed by SIGKILL", when the running process has ended */
  get ended(): Promise<string> {
    return this.#end;
  }

  /** Starts the process, and does not wait for more. */
  async launch(): Promise<void> {
    if (this.#isRunning()) throw new Error(`${this.name} runs already`);
    this.#run.ending.throwIfAborted();
    await this.#options.prepare?.();
    // Again: making a folder takes a second or two, and nothing may start behind the back of `end`.
    this.#run.ending.throwIfAborted();
    await this.#spawn();
  }

  /**
   * Waits until the launched process is ready.
   * @throws Error with the end of its log if it ends before that, or is not ready in time
   */
  async ready(): Promise<void> {
    let end: string | undefined;
    void this.#end.then((words) => (end = words));
    const waiting = this.#sayWaiting();
    try {
      await until(
        async () => end !== undefined || (await this.isReady()) || (await waiting()),
        `${this.name} to be ready`,
        this.#options.readyWithinMs,
        READY_EVERY_MS,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}${await this.#logTail()}`, { cause: error });
    }
    if (end !== undefined) throw new Error(`${this.name} ended before it was ready: ${end}${await this.#logTail()}`);
    await this.#options.afterReady?.();
  }

  /** Launches it and waits until it is ready; if that fails, it is killed. */
  async start(): Promise<void> {
    await this.launch();
    try {
      await this.ready();
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** Ends it in order, or by force after the bound. */
  async stop(): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    signal(pid, this.#options.stopSignal);
    // A process that was paused has to run in order to end.
    signal(pid, "SIGCONT");
    try {
      await until(() => !this.#isRunning(), `${this.name} to end`, this.#options.stopWithinMs);
    } catch {
      this.#run.say(`${this.name} did not end within ${this.#options.stopWithinMs} ms and is killed`);
      await this.kill();
    }
    this.sweep();
  }

  /** Ends it with SIGKILL and waits until it and all processes below it are gone. */
  async kill(): Promise<void> {
    const pid = this.pid;
    if (pid === undefined) return;
    const tree = await processTree(pid);
    signal(pid, "SIGKILL");
    await this.#end;
    this.sweep();
    // Postgres's processes have groups of their own, but end when they miss their parent.
    await until(async () => (await alive(tree)).length === 0, `the processes of ${this.name} to end`, KILL_WITHIN_MS);
  }

  /** After its end: ends what is left of its process group. A cluster process that outlives its primary would share the port unseen. */
  sweep(): void {
    if (this.#child?.pid !== undefined) signal(-this.#child.pid, "SIGKILL");
  }

  /** @returns a function that says what the part waits for, when it is time to, and is always false */
  #sayWaiting(): () => Promise<false> {
    let sayAtMs = performance.now() + SAY_AFTER_MS;
    let said: string | undefined;
    return async () => {
      if (performance.now() < sayAtMs) return false;
      sayAtMs = performance.now() + SAY_AFTER_MS;
      const reason = logReason(await this.#log());
      if (reason !== said) this.#run.say(`waiting for ${this.name}${reason === "" ? "" : `: ${reason}`}`);
      said = reason;
      return false;
    };
  }

  #log(): Promise<string> {
    return readFile(this.#run.logFile(this.name), "utf8").catch(() => "");
  }

  #isRunning(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  async #spawn(): Promise<void> {
    const { command, args, environment, user } = this.#options;
    const log = this.#run.logFile(this.name);
    await mkdir(dirname(log), { recursive: true, mode: 0o700 });
    const output = await open(log, "a", 0o600);
    try {
      const child = spawn(command, args, {
        // Its own session: a Ctrl-C in the terminal is for the launcher, which ends the parts in order.
        detached: true,
        cwd: "/",
        env: {
          PATH: this.#run.environment["PATH"],
          HOME: this.#run.environment["HOME"],
          LC_ALL: "C.UTF-8",
          ...environment,
          ...this.#run.launchEnvironment(this.name),
          DOORBUSTER_RUN: this.#run.id,
        },
        // Our programs stop when this pipe ends (DOORBUSTER_EXIT_WITH_PARENT); servers do not read it.
        stdio: ["pipe", output.fd, output.fd],
        ...user,
      });
      child.stdin?.on("error", () => undefined);
      if (child.pid !== undefined) this.#run.pids.add(child.pid);
      this.#child = child;
      this.#end = new Promise((resolve) => {
        child.once("error", (error) => resolve(error.message));
        child.once("exit", (code, killer) => resolve(killer === null ? `exit code ${code}` : `killed by ${killer}`));
      });
    } finally {
      await output.close();
    }
  }

  async #logTail(): Promise<string> {
    const text = await this.#log();
    const lines = text.trimEnd().split("\n").slice(-LOG_TAIL_LINES);
    return text.trim() === ""
      ? "; it wrote no log"
      : `; its log ends with:\n${lines.map((line) => `    ${line.slice(0, LOG_LINE_SHOWN)}`).join("\n")}`;
  }
}
