import type { OutboxEntry } from "#lua/shard/outbox";
import type { Position } from "#lua/core/position";
import type { LogRecord } from "#protocol/log-record";

export type { OutboxEntry };

/** A shard's outbox, read on a connection of its own: a blocking read holds up whatever is sent after it. */
export interface Outbox {
  /**
   * Entries after a position, in order; waits up to `blockMs` for the first (0 = answers at once).
   * @throws if the server is away, or an entry is not one of ours
   */
  read(after: Position, count: number, blockMs: number): Promise<readonly OutboxEntry[]>;
  /** ends the connection and with it a read that waits */
  close(): void;
}

/**
 * What became of an append; `full`: the log is at its bound and took nothing; `too_large`: the broker takes no message of so
 * many bytes, and took nothing.
 */
export type AppendAnswer =
  | { readonly status: "stored"; readonly streamSeq: number; readonly bytes: number }
  | { readonly status: "full" }
  | { readonly status: "too_large"; readonly bytes: number };

/** The last record of an epoch in the log that carries entries. */
export interface LastEntry {
  readonly streamSeq: number;
  /** seq of its last entry */
  readonly seq: number;
}

export interface LogHealth {
  readonly brokerId: string;
  /** the stream's last sequence */
  readonly lastSeq: number;
  /** what the consumer's acks have reached: grows while a worker is at work */
  readonly consumedSeq: number;
  /** everything of this shard up to this stream sequence was handed to a worker, or purged */
  readonly deliveredSeq: number;
  /** the consumer waits to hear of a record that it handed out */
  readonly awaitsAck: boolean;
  /** name of the consumer: another name means that it was made anew */
  readonly consumer: string;
}

/** The log of one shard: `orders.<shard>`. */
export interface ShardLog {
  /** which run of the broker this process is connected to; empty while it is not */
  brokerId(): string;
  /** bytes that a message may have on the broker that this process is connected to (`max_payload`); another may take fewer */
  payloadBytes(): number;
  /** @throws if the outcome is unknown: the record may have been stored */
  append(record: LogRecord): Promise<AppendAnswer>;
  /** looks back from the subject's last record, past markers and other epochs (bounded); undefined if it finds none */
  lastEntry(epoch: number): Promise<LastEntry | undefined>;
  /**
   * Makes sure that the stream is there as configured and that the consumer of this shard can be trusted: a consumer that
   * is ahead of its stream, or that was made before the broker's last start, is replaced by one under a new name.
   * @throws if the broker is away, or the stream is not as configured and cannot be made so
   */
  verify(): Promise<LogHealth>;
  /** drops this shard's records below a stream sequence */
  purge(beforeStreamSeq: number): Promise<void>;
  /** this shard's share of the log's bytes, above which applied records are purged */
  readonly purgeAtBytes: number;
}

/** Why entries are appended again. Never because time has passed. */
export const Cause = {
  /** an append was refused because the log is full */
  full: "full",
  /** several entries were joined for a broker that takes larger messages than the one that is there now */
  tooLarge: "too_large",
  /** an append failed or was not answered */
  unanswered: "unanswered",
  /** the row shows that the log went on at a position that does not follow */
  gap: "gap",
  /** the log ends before what was appended */
  logBehind: "log_behind",
  /** everything was handed out and no ack is awaited, and yet it is not applied: the consumer forgot a record */
  forgotten: "forgotten",
  /** the consumer was made anew */
  consumer: "consumer",
} as const;
export type Cause = (typeof Cause)[keyof typeof Cause];
