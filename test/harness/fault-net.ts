import type { ProgramName, Route } from "../../deploy/local/index.ts";
import { FaultProxy } from "./fault-proxy.ts";

/** A proxy between each program and each store that it uses: `startStack({ route: net.route })`. */
export class FaultNet {
  readonly #proxies = new Map<string, FaultProxy>();

  readonly route: Route = async (program, store, url) => {
    const proxy = await FaultProxy.open(Number(new URL(url).port));
    this.#proxies.set(`${program}:${store}`, proxy);
    return proxy.through(url);
  };

  /** `<program>:<store>` of every pair */
  get pairs(): readonly string[] {
    return [...this.#proxies.keys()];
  }

  between(program: ProgramName, store: string): FaultProxy {
    return this.proxy(`${program}:${store}`);
  }

  proxy(pair: string): FaultProxy {
    const proxy = this.#proxies.get(pair);
    if (proxy === undefined) throw new Error(`nothing between ${pair}; there are ${this.pairs.join(", ")}`);
    return proxy;
  }

  /** No trouble anywhere. */
  heal(): void {
    for (const proxy of this.#proxies.values()) proxy.set({ kind: "pass" });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.close()));
  }
}
