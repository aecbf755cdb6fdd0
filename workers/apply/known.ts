import type { Clock } from "#protocol/ports";
import type { LogRecord } from "#protocol/log-record";

/** What a record is that lies behind a position: history, or a repeat of what is applied. */
export type Passed = { readonly kind: "ignored" | "repeated"; readonly epoch: number; readonly applied: number };

/** Somebody may put an older copy of Postgres in its place, although nothing is promised then: the row is asked so often at least. */
export const TRUSTED_MS = 30_000;

/**
 * How far each shard's row was when this process saw it last. A row only goes forward, so what was behind it stays behind, and
 * needs no look at Postgres: a consumer made anew (after every restart of the broker) is handed all that the log still
 * holds, and a transaction for each kept shards closed for minutes on a busy machine.
 */
export class KnownPositions {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #trustedMs: number;
  readonly #seen = new Map<number, { readonly epoch: number; readonly applied: number; readonly atMs: number }>();

  /** @param trustedMs how long what was seen is believed; below 0: never */
  constructor(clock: Pick<Clock, "monotonicMs">, trustedMs: number) {
    this.#clock = clock;
    this.#trustedMs = trustedMs;
  }

  /** @param applied of a row in whose epoch no constraint was violated; 0 if that is not known */
  saw(shard: number, epoch: number, applied: number): void {
    const before = this.#trusted(shard);
    const isAhead = before === undefined || epoch > before.epoch || (epoch === before.epoch && applied >= before.applied);
    if (isAhead) this.#seen.set(shard, { epoch, applied, atMs: this.#clock.monotonicMs() });
  }

  /** The store failed: it may come back with less. */
  forget(shard: number): void {
    this.#seen.delete(shard);
  }

  /** @returns undefined if the row has to be asked */
  passed(record: LogRecord): Passed | undefined {
    const seen = this.#trusted(record.shard);
    if (seen === undefined) return undefined;
    if (record.type === "marker")
      return record.from < seen.epoch ? { kind: "ignored", epoch: seen.epoch, applied: seen.applied } : undefined;
    if (record.epoch < seen.epoch) return { kind: "ignored", epoch: seen.epoch, applied: seen.applied };
    const lastSeq = record.entries.at(-1)?.seq ?? 0;
    return record.epoch === seen.epoch && lastSeq <= seen.applied
      ? { kind: "repeated", epoch: seen.epoch, applied: seen.applied }
      : undefined;
  }

  #trusted(shard: number): { readonly epoch: number; readonly applied: number } | undefined {
    const seen = this.#seen.get(shard);
    return seen === undefined || this.#clock.monotonicMs() - seen.atMs > this.#trustedMs ? undefined : seen;
  }
}
