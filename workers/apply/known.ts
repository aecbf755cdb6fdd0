import type { LogMessage } from "../../coordinator/protocol/message.ts";

/** What a message is that lies behind a position: history, or a repeat of what is applied. */
export type Passed = { readonly kind: "ignored" | "repeated"; readonly epoch: number; readonly applied: number };

/**
 * How far each shard's row was when this process saw it last. A row only goes forward, so what was behind it stays behind, and
 * needs no look at Postgres: a consumer made anew (after every restart of the broker) is handed all that the log still
 * holds, and a transaction for each kept shards closed for minutes on a busy machine.
 */
export class KnownPositions {
  readonly #seen = new Map<number, { readonly epoch: number; readonly applied: number }>();

  /** @param applied of a row without a touched wall; 0 if that is not known */
  saw(shard: number, epoch: number, applied: number): void {
    const before = this.#seen.get(shard);
    if (before === undefined || epoch > before.epoch || (epoch === before.epoch && applied > before.applied))
      this.#seen.set(shard, { epoch, applied });
  }

  /** The store failed: it may come back with less. */
  forget(shard: number): void {
    this.#seen.delete(shard);
  }

  /** @returns undefined if the row has to be asked */
  passed(message: LogMessage): Passed | undefined {
    const seen = this.#seen.get(message.shard);
    if (seen === undefined) return undefined;
    if (message.type === "marker") return message.from < seen.epoch ? { kind: "ignored", ...seen } : undefined;
    if (message.epoch < seen.epoch) return { kind: "ignored", ...seen };
    const lastSeq = message.entries.at(-1)?.seq ?? 0;
    return message.epoch === seen.epoch && lastSeq <= seen.applied ? { kind: "repeated", ...seen } : undefined;
  }
}
