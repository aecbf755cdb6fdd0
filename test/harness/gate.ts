/**
 * Stops a process at its port calls, as SIGSTOP would: while the gate is closed no call begins and none returns.
 */
export class Gate {
  #closed: { readonly opened: Promise<void>; readonly open: () => void } | undefined;
  #stopAt: string | undefined;

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  close(): void {
    if (this.#closed !== undefined) return;
    let resolve = (): void => undefined;
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#closed = { opened: promise, open: resolve };
  }

  open(): void {
    this.#stopAt = undefined;
    this.#closed?.open();
    this.#closed = undefined;
  }

  /** Closes by itself just before the next call of this name. */
  closeBefore(call: string): void {
    this.#stopAt = call;
  }

  /** A port whose async calls, those named, pass the gate. */
  guard<Port extends object>(port: Port, calls: readonly (keyof Port & string)[]): Port {
    const guarded: Partial<Port> = {};
    for (const call of calls) {
      const real = port[call] as (...args: unknown[]) => Promise<unknown>;
      guarded[call] = (async (...args: unknown[]) => {
        if (this.#stopAt === call) this.close();
        await this.#pass();
        try {
          return await real(...args);
        } finally {
          await this.#pass();
        }
      }) as Port[typeof call];
    }
    return { ...port, ...guarded };
  }

  async #pass(): Promise<void> {
    while (this.#closed !== undefined) await this.#closed.opened;
  }
}
