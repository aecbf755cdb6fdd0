import type { PlacementNotes } from "#lua/message/message-placement";
import type { Clock } from "#protocol/ports";
import { shardOf } from "#protocol/shard-map";

/** How often a placing process says so. */
const NOTE_EVERY_MS = 5_000;
/** A list noted so recently is in use. */
const IN_USE_MS = 120_000;
/** A list is forgotten when its last note is older than the oldest message by more than anybody may still place by it. */
const FORGET_MS = 300_000;
/** What a process knows of a shard's notes is good for so long: the script that creates refuses after it. */
const KNOWN_FOR_MS = 15_000;
/** A place that was given up stays so: longer than anybody may go on without knowing why. */
export const YIELD_MS = 40_000;
/** A shard that never answered makes every new message be looked for everywhere: asked again soon. */
const ASK_AGAIN_MS = 50;
/** The connections of a process that has just started need a moment; calls wait for them no longer than this. */
const START_MOST_MS = 2_000;

export interface PlacementStore {
  /** notes on `shard` that gids are placed by `count` shards, on it or on others */
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
 * creates it there gives up its places by the others first, each in one script. Why one gid never gets two records: each
 * notes its number on every shard. Who places by the longer list has noted it a moment ago on the shard where it creates;
 * who places by the shorter one has noted that on this same shard (it may create nothing while it cannot reach a shard
 * beyond its list). So the later of the two notes has read the other: either the one defers, or the other gives up that
 * place before it creates. (All must reach all shards: lengthen REDIS_SHARDS first, then raise the number that takes new
 * messages.)
 */
export class Placement {
  readonly shards: readonly number[];
  readonly #count: number;
  readonly #store: PlacementStore;
  readonly #clock: Clock;
  /** by shard, when its last answer was asked for */
  readonly #askedAtMs = new Map<number, number>();
  readonly #noted = new Map<number, PlacementNotes>();
  readonly #startedAtMs: number;
  /** numbers by which somebody places new messages now, ours among them */
  #inUse: ReadonlySet<number>;

  /** @param options.shards all that exist; `count` of them, from 0, take new messages */
  constructor(store: PlacementStore, options: { readonly shards: number; readonly count: number; readonly clock: Clock }) {
    this.shards = Array.from({ length: options.shards }, (_, shard) => shard);
    this.#count = options.count;
    this.#store = store;
    this.#clock = options.clock;
    this.#startedAtMs = options.clock.monotonicMs();
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
    const untilMs = known === undefined || !this.#reachesBeyond() ? 0 : known.nowMs + KNOWN_FOR_MS;
    return { shard, count, untilMs, yields: [...homes] };
  }

  /** True also while a shard has never answered: it may hold anything. */
  mixed(): boolean {
    return (
      this.#hasUnheard() || [...this.#noted.values()].some(({ notedAtMs }) => [...notedAtMs.keys()].some((count) => count !== this.#count))
    );
  }

  /** Shards that have never answered. */
  unheard(): readonly number[] {
    return this.shards.filter((shard) => !this.#noted.has(shard));
  }

  #hasUnheard(): boolean {
    return this.#noted.size < this.shards.length;
  }

  /** Resolves when every shard has answered once, or is so late that a call had better say what it meets. */
  async started(): Promise<void> {
    while (this.#hasUnheard() && this.#clock.monotonicMs() < this.#startedAtMs + START_MOST_MS) await this.#clock.sleep(ASK_AGAIN_MS);
  }

  /** Who takes new messages on fewer shards than there are must have announced it to the others. */
  #reachesBeyond(): boolean {
    const now = this.#clock.monotonicMs();
    return this.shards.slice(this.#count).every((shard) => (this.#askedAtMs.get(shard) ?? -Infinity) > now - KNOWN_FOR_MS);
  }

  /** Asks every shard once. One that does not answer keeps what it said before. */
  async refresh(): Promise<void> {
    await Promise.all(
      this.shards.map(async (shard) => {
        const askedAtMs = this.#clock.monotonicMs();
        try {
          this.#noted.set(shard, await this.#store.notePlacement(shard, this.#count, FORGET_MS));
          this.#askedAtMs.set(shard, askedAtMs);
          // at once: who counts as having announced it must count as heard
          this.#inUse = this.#used();
        } catch {
          // the next round asks again
        }
      }),
    );
  }

  #used(): ReadonlySet<number> {
    const counts = new Set([this.#count]);
    for (const { nowMs, notedAtMs } of this.#noted.values())
      for (const [count, atMs] of notedAtMs) if (nowMs - atMs < IN_USE_MS && count <= this.shards.length) counts.add(count);
    return counts;
  }

  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.refresh();
      await this.#clock.sleep(this.#hasUnheard() ? ASK_AGAIN_MS : NOTE_EVERY_MS, stop);
    }
  }
}
