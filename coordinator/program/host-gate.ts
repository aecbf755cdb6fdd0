interface Host {
  running: number;
  readonly waiting: (() => void)[];
  /** since when as many wait as may, but for moments; undefined: they do not */
  fullSinceMs: number | undefined;
}

/**
 * A bound on the calls that run at one host at a time, so that a slow one takes neither the sockets nor the turn of
 * another; and a bound on how many wait for it, so that it does not take the memory either.
 */
export class HostGate {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #nowMs: () => number;
  readonly #hosts = new Map<string, Host>();

  constructor(options: { readonly most: number; readonly mostWaiting: number; readonly nowMs: () => number }) {
    this.#nowMs = options.nowMs;
    this.#most = options.most;
    this.#mostWaiting = options.mostWaiting;
  }

  /** For how long there has been no room to wait for the host: come back later. @returns undefined: there is room */
  fullForMs(host: string): number | undefined {
    const state = this.#hosts.get(host);
    if (state === undefined || state.waiting.length < this.#mostWaiting) return undefined;
    state.fullSinceMs ??= this.#nowMs();
    return this.#nowMs() - state.fullSinceMs;
  }

  /** Runs `task` when it is its turn at the host. */
  async run<T>(host: string, task: () => Promise<T>): Promise<T> {
    const state = this.#hosts.get(host) ?? { running: 0, waiting: [], fullSinceMs: undefined };
    this.#hosts.set(host, state);
    if (state.running < this.#most) state.running += 1;
    // the slot is handed over by the one that leaves: `running` stays
    else await new Promise<void>((resolve) => state.waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = state.waiting.shift();
      if (state.waiting.length < this.#mostWaiting / 2) state.fullSinceMs = undefined;
      if (next === undefined) {
        state.running -= 1;
        if (state.running === 0) this.#hosts.delete(host);
      } else next();
    }
  }
}
