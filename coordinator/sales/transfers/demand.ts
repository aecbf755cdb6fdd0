import type { Clock } from "#protocol/ports";

/** A hint counts this long: a buyer who still wants the units waits or comes again within it, and is answered dry again. */
const DEMAND_MS = 1_500;

interface Asked {
  readonly units: number;
  readonly atMs: number;
}

/** Where units were asked for of late and not found. Hints are gone when they are old; a lost one is made up for by the next. */
export class Demand {
  readonly #clock: Clock;
  /** sale -> shard -> the last that was asked for */
  readonly #asked = new Map<string, Map<number, Asked>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isEmpty(): boolean {
    this.#forget();
    return this.#asked.size === 0;
  }

  note(saleId: string, shard: number, units: number): void {
    const atMs = this.#clock.monotonicMs();
    let shards = this.#asked.get(saleId);
    if (shards === undefined) this.#asked.set(saleId, (shards = new Map()));
    // Several buyers ask within a moment: enough for the most modest of them is worth a move.
    const before = shards.get(shard);
    shards.set(shard, { atMs, units: before !== undefined && before.atMs + DEMAND_MS > atMs ? Math.min(before.units, units) : units });
  }

  /** units asked for on this shard of late; 0 = none */
  wanted(saleId: string, shard: number): number {
    const asked = this.#asked.get(saleId)?.get(shard);
    return asked === undefined || asked.atMs + DEMAND_MS <= this.#clock.monotonicMs() ? 0 : asked.units;
  }

  sales(): string[] {
    this.#forget();
    return [...this.#asked.keys()];
  }

  #forget(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [saleId, shards] of this.#asked) {
      for (const [shard, { atMs }] of shards) if (atMs + DEMAND_MS <= nowMs) shards.delete(shard);
      if (shards.size === 0) this.#asked.delete(saleId);
    }
  }
}
