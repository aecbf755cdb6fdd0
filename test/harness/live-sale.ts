import { setMaxListeners } from "node:events";
import { until } from "../../deploy/local/index.ts";
import { Crowd, Draw, judgeSale, type CrowdCounts, type StackWorld } from "./index.ts";

/** Never sold out: buyers go on buying until the point was reached, however long a start takes. */
const UNITS = 5_000;
const BUYERS = 4_000;
const HOUR_MS = 3_600_000;
const BUYERS_PER_SECOND = 25;
const REST_WITHIN_MS = 60_000;
/** The point may kill the program while it starts. */
const HEARD_WITHIN_MS = 60_000;
const ASK_AGAIN_MS = 200;
/** Buyers who come after the crash. */
const AFTERWARDS = 10;

/**
 * Asks as an operator does who hears that a store is away: again, in the same words. The programs of a row before may
 * die still: of several processes each is armed.
 */
export const untilHeard = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  let heard: { readonly value: T } | undefined;
  let why = "";
  const isHeard = async (): Promise<boolean> => {
    heard = await work().then(
      (value) => ({ value }),
      (error: Error) => {
        why = error.message;
        return undefined;
      },
    );
    return heard !== undefined;
  };
  await until(isHeard, what, HEARD_WITHIN_MS, ASK_AGAIN_MS).catch((error: Error) => {
    throw new Error(`${error.message}: ${why}`);
  });
  return (heard as unknown as { readonly value: T }).value;
};

/** A sale that is under way while something is done to the stack. */
export class LiveSale {
  readonly id: string;
  readonly crowd: Crowd;
  readonly counts: CrowdCounts = { requests: 0, silent: 0, later: 0, won: 0 };
  readonly #world: StackWorld;
  readonly #running: Promise<void>;
  readonly #stop = new AbortController();

  private constructor(world: StackWorld, id: string) {
    this.#world = world;
    this.id = id;
    this.crowd = new Crowd(world, { saleId: id, buyers: BUYERS, limit: 1 }, this.counts, new Draw(id.length), this.#stop.signal);
    // each buyer sleeps on it: no leak
    setMaxListeners(0, this.#stop.signal);
    this.#running = this.crowd.run(BUYERS_PER_SECOND);
  }

  static async open(world: StackWorld, id: string, more: Readonly<Record<string, unknown>> = {}): Promise<LiveSale> {
    const opensAtMs = Date.now() - 1_000;
    const window = { opensAtMs, closesAtMs: opensAtMs + HOUR_MS };
    await untilHeard(`${id} to be opened`, () => world.openSale(id, UNITS, { ...window, ...more }));
    const sale = new LiveSale(world, id);
    await until(() => sale.crowd.purchases.length > AFTERWARDS, "the sale to be under way", REST_WITHIN_MS);
    return sale;
  }

  /** Ends it some buyers later, and compares what everybody was told with what is. @returns what is wrong */
  async end(): Promise<readonly string[]> {
    const wrong: string[] = [];
    const upto = this.crowd.purchases.length + AFTERWARDS;
    try {
      await until(() => this.crowd.purchases.length >= upto, "buyers to come after the crash", REST_WITHIN_MS);
      this.crowd.enough();
      await this.#world.stack.ready();
      await until(() => this.crowd.waiting === 0, "every buyer to have an answer", REST_WITHIN_MS);
      await judgeSale(this.#world, this.crowd, UNITS, REST_WITHIN_MS, (violation) => wrong.push(violation));
    } catch (error) {
      wrong.push((error as Error).message);
    } finally {
      this.#stop.abort();
      await this.#running;
    }
    return [...this.crowd.violations, ...wrong];
  }
}
