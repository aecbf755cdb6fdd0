interface Host {
  running: number;
  readonly waiting: (() => void)[];
}

/**
 * A bound on the calls that run at one host at a time, so that a slow one takes neither the sockets nor the turn of
 * another; and a bound on how many wait for it, so that it does not take the memory either.
 */
export class HostGate {
  readonly #most: number;
  readonly #mostWaiting: number;
  readonly #hosts = new Map<string, Host>();

  constructor(options: { readonly most: number; readonly mostWaiting: number }) {
    this.#most = options.most;
    this.#mostWaiting = options.mostWaiting;
  }

  /** @returns false if as many wait as may: come back later */
  hasRoom(host: string): boolean {
    return (this.#hosts.get(host)?.waiting.length ?? 0) < this.#mostWaiting;
  }

  /** Runs `task` when it is its turn at the host. */
  async run<T>(host: string, task: () => Promise<T>): Promise<T> {
    const state = this.#hosts.get(host) ?? { running: 0, waiting: [] };
    this.#hosts.set(host, state);
    if (state.running < this.#most) state.running += 1;
    // the slot is handed over by the one that leaves: `running` stays
    else await new Promise<void>((resolve) => state.waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = state.waiting.shift();
      if (next === undefined) {
        state.running -= 1;
        if (state.running === 0) this.#hosts.delete(host);
      } else next();
    }
  }
}
