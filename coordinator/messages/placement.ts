import type { PlacementNotes } from "../../lua/message-sweep.ts";
import type { Clock } from "../protocol/ports.ts";
import { shardOf } from "../protocol/shard-map.ts";

/** How often a placing process says so, and how much older than the oldest message the last note of a list must be to forget it. */
const NOTE_EVERY_MS = 5_000;
/** A list noted so recently is in use. */
const MARGIN_MS = 60_000;
/** What a process knows of a shard's notes is good for so long: the script that creates refuses after it. Well below the margin. */
const KNOWN_FOR_MS = 15_000;
/** A place that was given up stays so: longer than anybody may go on without knowing why. */
export const YIELD_MS = 120_000;
/** A shard that never answered makes every new message be looked for everywhere: asked again soon. */
const ASK_AGAIN_MS = 100;

export interface PlacementStore {
  /** notes that gids are placed on `shard` by `count` shards (0: none are) */
  notePlacement(shard: number, count: number, marginMs: number): Promise<PlacementNotes>;
}

/** Where a new message goes. */
export interface Place {
  readonly shard: number;
  /** number of shards of the list by which it goes there */
  readonly count: number;
  /** ms of that shard's clock: not later */
  readonly untilMs: number;
  /** where others may place it who do not know of that list: to be given up first */
  readonly yields: readonly number[];
}

/**
 * On which shard a message lives: the rendezvous hash of its gid over the first `count` shards, unless it was stored
 * while that number was another. As long as any shard may hold such messages the list is `mixed`, and a gid that is
 * not at home is looked for everywhere before it is taken as new.
 *
 * While coordinators of different numbers run side by side, a new gid goes where the smallest of them says, and whoever
 * creates it there gives up its places by the others first, each in one script. Of two coordinators at least one knows
 * the other's number: each notes its own on every shard, and reads, before it places anything and every few seconds; the
 * one that noted later has read the other's note, or that note was older than the margin, and then everything placed
 * by it was stored before and is found by looking. So one gid never gets two records. (All must reach all shards:
 * lengthen REDIS_SHARDS first, then raise the number that takes new messages.)
 */
export class Placement {
  readonly shards: readonly number[];
  readonly #count: number;
  readonly #store: PlacementStore;
  readonly #noted = new Map<number, PlacementNotes>();
  /** numbers by which somebody places new messages now, ours among them */
  #inUse: ReadonlySet<number>;

  /** @param options.shards all that exist; `count` of them, from 0, take new messages */
  constructor(store: PlacementStore, options: { readonly shards: number; readonly count: number }) {
    this.shards = Array.from({ length: options.shards }, (_, shard) => shard);
    this.#count = options.count;
    this.#store = store;
    this.#inUse = new Set([options.count]);
  }

  home(gid: string): number {
    return shardOf(gid, this.#count);
  }

  others(shard: number): readonly number[] {
    return this.shards.filter((other) => other !== shard);
  }

  /** @param count of a list that is known to be shorter than those in use */
  place(gid: string, count = Math.min(...this.#inUse)): Place {
    const shard = shardOf(gid, count);
    const homes = new Set([...this.#inUse].filter((other) => other > count).map((other) => shardOf(gid, other)));
    homes.delete(shard);
    const known = this.#noted.get(shard);
    // nothing known: too late by any clock
    return { shard, count, untilMs: known === undefined ? 0 : known.nowMs + KNOWN_FOR_MS, yields: [...homes] };
  }

  /** True also while a shard has never answered: it may hold anything. */
  mixed(): boolean {
    return this.shards.some((shard) => {
      const notes = this.#noted.get(shard);
      return notes === undefined || [...notes.notedAtMs.keys()].some((count) => count !== this.#count);
    });
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
    const counts = new Set([this.#count]);
    for (const { nowMs, notedAtMs } of this.#noted.values())
      for (const [count, atMs] of notedAtMs) if (nowMs - atMs < MARGIN_MS && count <= this.shards.length) counts.add(count);
    this.#inUse = counts;
  }

  async run(clock: Clock, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.refresh();
      await clock.sleep(this.#noted.size < this.shards.length ? ASK_AGAIN_MS : NOTE_EVERY_MS, stop);
    }
  }
}
