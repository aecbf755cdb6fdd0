import type { StoredRecord } from "./append-window.ts";

/**
 * Which records of a shard may be purged. A record is dropped only when a record of ours that follows it in the log
 * holds nothing but applied entries: whatever is not applied was appended after that one, or will be.
 */
export class AppliedLog {
  readonly #purgeAtBytes: number;
  #stored: StoredRecord[] = [];
  #appliedBytes = 0;
  #safe = 0;
  #purged = 0;

  /** @param purgeAtBytes applied bytes below which a purge is not worth a request */
  constructor(purgeAtBytes: number) {
    this.#purgeAtBytes = purgeAtBytes;
  }

  stored(record: StoredRecord): void {
    this.#stored.push(record);
  }

  /** the log was lost or its sequences began anew: what was noted about it is void */
  forget(): void {
    this.#stored = [];
    this.#appliedBytes = 0;
    this.#safe = 0;
    this.#purged = 0;
  }

  /** Everything up to this seq of the epoch is in Postgres. */
  applied(seq: number): void {
    let count = 0;
    for (const record of this.#stored) {
      if (record.lastSeq > seq) break;
      this.#safe = Math.max(this.#safe, record.streamSeq);
      this.#appliedBytes += record.bytes;
      count += 1;
    }
    if (count > 0) this.#stored.splice(0, count);
  }

  /** the stream sequence below which nothing is needed */
  get safe(): number {
    return this.#safe;
  }

  /** @returns the stream sequence below which to purge now, if it is worth a request */
  due(): number | undefined {
    return this.#safe > this.#purged && this.#appliedBytes >= this.#purgeAtBytes ? this.#safe : undefined;
  }

  purged(beforeStreamSeq: number): void {
    this.#purged = Math.max(this.#purged, beforeStreamSeq);
    this.#appliedBytes = 0;
  }
}
