import type { Clock, Random } from "#protocol/ports";
import type { Kernel } from "./kernel.ts";
import { Step } from "./queue.ts";

/** A process of the installation: its lives follow each other, each begins with nothing. */
export interface Program {
  readonly name: string;
  /** Builds the program and starts its loops. */
  start(life: Life): void;
}

class Timer extends Step {
  readonly #life: Life;
  #resolve: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(life: Life, resolve: () => void, signal: AbortSignal | undefined) {
    super();
    this.#life = life;
    this.#resolve = resolve;
    this.#signal = signal;
    signal?.addEventListener("abort", this.end);
  }

  readonly end = (): void => {
    this.#resolve?.();
    this.#resolve = undefined;
  };

  override run(): boolean {
    const life = this.#life;
    if (this.#resolve === undefined || life.isDead || life.isDeferred(this)) return false;
    this.#signal?.removeEventListener("abort", this.end);
    this.end();
    return true;
  }
}

/**
 * One life of a process, from its start to its crash. What was going on at a crash never goes on: its timers and the
 * answers to its calls find it dead, and its promises never settle.
 */
export class Life {
  readonly process: Process;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly random: Random;
  readonly #stop = new AbortController();
  isDead = false;

  constructor(process: Process, number: number) {
    const { kernel } = process;
    this.process = process;
    this.kernel = kernel;
    // a monotonic clock has an arbitrary zero
    const zeroMs = kernel.draw.below(1_000_000);
    this.clock = {
      monotonicMs: () => kernel.nowMs + zeroMs,
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal?.aborted === true) resolve();
          else kernel.plan(new Timer(this, resolve, signal), kernel.nowMs + ms);
        }),
    };
    let nonces = 0;
    this.random = {
      nonce: () => `${process.name}l${number}n${++nonces}`,
      fraction: () => kernel.draw.fraction(),
    };
  }

  /** ends with a clean stop only; a crash tells nobody */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** A clean stop: the program hears of it and ends by itself. */
  askToStop(): void {
    this.#stop.abort();
  }

  /** While the process is paused its steps wait, in their order. */
  isDeferred(step: Step): boolean {
    const { pausedUntilMs, kernel } = this.process;
    if (pausedUntilMs <= kernel.nowMs) return false;
    kernel.defer(step, pausedUntilMs);
    return true;
  }
}

/** A place in which lives of one program follow each other. */
export class Process {
  readonly kernel: Kernel;
  readonly program: Program;
  /** its part in names and in the trace */
  readonly name: string;
  /** what its wall clock shows beyond what it should */
  aheadMs = 0;
  /** SIGSTOP until then */
  pausedUntilMs = 0;
  life: Life | undefined;
  /** told about each life that ended */
  onCrash: (life: Life) => void = () => undefined;
  #lives = 0;

  constructor(kernel: Kernel, program: Program) {
    this.kernel = kernel;
    this.program = program;
    this.name = program.name;
  }

  get isUp(): boolean {
    return this.life !== undefined;
  }

  get isPaused(): boolean {
    return this.pausedUntilMs > this.kernel.nowMs;
  }

  start(): void {
    if (this.life !== undefined) return;
    this.#lives += 1;
    this.life = new Life(this, this.#lives);
    this.program.start(this.life);
  }

  /** kill -9. */
  kill(): void {
    const { life, kernel } = this;
    if (life === undefined) return;
    life.isDead = true;
    this.life = undefined;
    this.pausedUntilMs = 0;
    this.onCrash(life);
    kernel.say?.(kernel.nowMs, `CRASH ${this.name}`);
  }

  /** kill -9, and the start after it. */
  crash(restartMs: number): void {
    const { kernel } = this;
    if (!this.isUp) return;
    this.kill();
    kernel.after(restartMs, () => {
      kernel.say?.(kernel.nowMs, `START ${this.name}`);
      this.start();
    });
  }

  pause(ms: number): void {
    const { kernel } = this;
    this.pausedUntilMs = Math.max(this.pausedUntilMs, kernel.nowMs + ms);
    kernel.say?.(kernel.nowMs, `PAUSE ${this.name} for ${Math.round(ms)} ms`);
  }
}
