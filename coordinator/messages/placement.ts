import type { Clock } from "../protocol/ports.ts";
import { shardOf } from "../protocol/shard-map.ts";

/** How often a placing process says so, and how much older than the oldest message the last note of a list must be to forget it. */
const NOTE_EVERY_MS = 5_000;
const MARGIN_MS = 60_000;
/** A shard that never answered makes every new message be looked for everywhere: asked again soon. */
const ASK_AGAIN_MS = 100;

export interface PlacementStore {
  /** notes that gids are placed on `shard` by `count` shards (0: none are), answers by which counts they may have been */
  notePlacement(shard: number, count: number, marginMs: number): Promise<readonly number[]>;
}

/**
 * On which shard a message lives: the rendezvous hash of its gid over the first `count` shards, unless it was stored
 * while that number was another. As long as any shard may hold such messages the list is `mixed`, and a gid that is
 * not at home is looked for everywhere before it is taken as new.
 */
export class Placement {
  readonly shards: readonly number[];
  readonly #count: number;
  readonly #store: PlacementStore;
  readonly #noted = new Map<number, readonly number[]>();

  /** @param options.shards all that exist; `count` of them, from 0, take new messages */
  constructor(store: PlacementStore, options: { readonly shards: number; readonly count: number }) {
    this.shards = Array.from({ length: options.shards }, (_, shard) => shard);
    this.#count = options.count;
    this.#store = store;
  }

  home(gid: string): number {
    return shardOf(gid, this.#count);
  }

  others(shard: number): readonly number[] {
    return this.shards.filter((other) => other !== shard);
  }

  /** True also while a shard has never answered: it may hold anything. */
  mixed(): boolean {
    return this.shards.some((shard) => this.#noted.get(shard)?.every((count) => count === this.#count) !== true);
  }

  /** Asks every shard once. One that does not answer keeps what it said before. */
  async refresh(): Promise<void> {
    await Promise.all(
      this.shards.map(async (shard) => {
        try {
          this.#noted.set(shard, await this.#store.notePlacement(shard, shard < this.#count ? this.#count : 0, MARGIN_MS));
        } catch {
          // the next round asks again
        }
      }),
    );
  }

  async run(clock: Clock, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.refresh();
      await clock.sleep(this.#noted.size < this.shards.length ? ASK_AGAIN_MS : NOTE_EVERY_MS, stop);
    }
  }
}
