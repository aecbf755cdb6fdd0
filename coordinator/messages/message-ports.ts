import type { PutOff } from "#lua/message/message-claim";
import type { Verdict } from "./machine.ts";
import type { Change } from "./machine.ts";
import type { CorruptMessage, MessageRecord } from "./record.ts";

/** A message with the time it is due; undefined while it waits for nothing. */
export interface StoredMessage {
  readonly record: MessageRecord;
  readonly dueAtMs: number | undefined;
}

/** A message of that gid is there. */
export interface Existing {
  readonly status: "exists";
  readonly record: MessageRecord;
}

/** Nothing was stored: it was too late to place it here, or its place is by a list of `count` shards. */
export type Misplaced = { readonly status: "late" } | { readonly status: "elsewhere"; readonly count: number };

export interface Claimed {
  readonly gids: readonly string[];
  /** ms of the shard's clock */
  readonly dueAgainMs: number;
}

/** Messages as shards keep them. Every call may fail; what a failed call did is unknown, and all of them can be repeated. */
export interface MessageStore {
  /** the shard's clock, as far as it is known: ms since 1970 */
  nowMs(shard: number): Promise<number>;
  /** stores a new message, not later than `untilMs` of the shard's clock */
  create(shard: number, gid: string, change: Change, untilMs: number): Promise<{ readonly status: "ok" } | Misplaced | Existing>;
  /** gives up the shard as a message's place for one by a list of `count` shards */
  yield(shard: number, gid: string, count: number): Promise<{ readonly status: "ok" } | Misplaced | Existing>;
  /** stores `change.record` if the stored version is the one before it */
  change(
    shard: number,
    gid: string,
    before: MessageRecord,
    change: Change,
  ): Promise<{ readonly status: "ok" } | { readonly status: "changed"; readonly record: MessageRecord | undefined }>;
  /** in their order; one that cannot be read is an answer about that one alone */
  read(shard: number, gids: readonly string[]): Promise<readonly (StoredMessage | CorruptMessage | undefined)[]>;
  /** takes due messages, each is due again at `dueAgainMs` unless it changes; those of the claim before that are `putOff` are later */
  claim(shard: number, limit: number, holdMs: number, putOff?: PutOff): Promise<Claimed>;
  purge(shard: number, limit: number): Promise<number>;
}

export interface Call {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
}

export interface Answered {
  readonly verdict: Verdict;
  /** for people: the status and the beginning of the body, or what went wrong */
  readonly reason: string;
}

/** Calls other services. Never rejects: whatever goes wrong is a verdict `error`. */
export interface Caller {
  call(call: Call): Promise<Answered>;
}

/** Whether this process may start calls for a shard, at this moment: counted from before the lease was asked for. */
export interface Leases {
  holds(shard: number): boolean;
}

/** Called with what happens; for logs, metrics and tests. */
export interface MessageWatch {
  called(kind: "branch" | "query", verdict: Verdict): void;
  /** a message became a dead letter */
  dead(shard: number, gid: string, record: MessageRecord): void;
  /** a store did not answer, or a message cannot be read; the sweep comes back to it */
  troubled(shard: number, doing: string, error: unknown): void;
}
