import type { Change } from "../../../coordinator/messages/machine.ts";
import type { Existing, Misplaced, StoredMessage } from "../../../coordinator/messages/message-ports.ts";
import { isFinished, type MessageRecord } from "../../../coordinator/messages/record.ts";
import type { PlacementNotes } from "#lua/message/message-placement";
import type { Kernel } from "../kernel/kernel.ts";
import type { Target } from "../kernel/wire.ts";
import type { MessageRules } from "./rules.ts";

interface Stored {
  record: MessageRecord;
  dueAtMs: number | undefined;
  expiresAtMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/** Told of every record that is stored. */
export type Stores = (shard: number, gid: string, before: MessageRecord | undefined, after: MessageRecord) => void;

/** The messages of one shard's Redis, as the scripts `message-*.lua` keep them. It loses nothing: `appendfsync always`. */
export class MessageShard implements Target {
  readonly name: string;
  readonly shard: number;
  run = 1;
  isUp = true;
  lease: { token: string; untilMs: number } | undefined;
  readonly #kernel: Kernel;
  readonly #rules: MessageRules;
  readonly #stores: Stores;
  readonly #messages = new Map<string, Stored>();
  readonly #yielded = new Map<string, { count: number; untilMs: number }>();
  readonly #placements = new Map<number, number>();

  constructor(kernel: Kernel, shard: number, rules: MessageRules, stores: Stores) {
    this.#kernel = kernel;
    this.#rules = rules;
    this.#stores = stores;
    this.shard = shard;
    this.name = `redis${shard}`;
  }

  get nowMs(): number {
    return Math.floor(1_700_000_000_000 + this.#kernel.nowMs);
  }

  restart(ms: number): void {
    this.isUp = false;
    this.run += 1;
    this.#kernel.after(ms, () => {
      this.isUp = true;
    });
  }

  /** every record there is */
  get messages(): ReadonlyMap<string, Stored> {
    for (const [gid, { expiresAtMs }] of this.#messages) if (expiresAtMs <= this.nowMs) this.#messages.delete(gid);
    return this.#messages;
  }

  acquire(token: string, leaseMs: number): boolean {
    if (this.lease !== undefined && this.lease.untilMs > this.nowMs && this.lease.token !== token) return false;
    this.lease = { token, untilMs: this.nowMs + leaseMs };
    return true;
  }

  create(gid: string, change: Change, untilMs: number): { readonly status: "ok" } | Misplaced | Existing {
    const there = this.messages.get(gid);
    if (there !== undefined && this.#rules.keepsFirst) return { status: "exists", record: there.record };
    const moved = this.#movedTo(gid);
    if (this.#rules.refusesMisplaced && moved !== undefined) return { status: "elsewhere", count: moved };
    if (this.#rules.refusesMisplaced && this.nowMs > untilMs) return { status: "late" };
    this.#store(gid, there?.record, change);
    return { status: "ok" };
  }

  yield(gid: string, count: number, holdMs: number): { readonly status: "ok" } | Misplaced | Existing {
    const there = this.messages.get(gid);
    if (there !== undefined) return { status: "exists", record: there.record };
    const moved = this.#movedTo(gid);
    if (moved !== undefined && moved < count) return { status: "elsewhere", count: moved };
    this.#yielded.set(gid, { count, untilMs: this.nowMs + holdMs });
    return { status: "ok" };
  }

  change(
    gid: string,
    before: MessageRecord,
    change: Change,
  ): { readonly status: "ok" } | { readonly status: "changed"; readonly record: MessageRecord | undefined } {
    const there = this.messages.get(gid);
    if (there === undefined) return { status: "changed", record: undefined };
    if (this.#rules.comparesVersion && there.record.version !== before.version) return { status: "changed", record: there.record };
    this.#store(gid, there.record, change);
    return { status: "ok" };
  }

  read(gids: readonly string[]): readonly (StoredMessage | undefined)[] {
    return gids.map((gid) => {
      const there = this.messages.get(gid);
      return there === undefined ? undefined : { record: there.record, dueAtMs: there.dueAtMs };
    });
  }

  claim(limit: number, holdMs: number): readonly string[] {
    const due = [...this.messages].filter(([, { dueAtMs }]) => dueAtMs !== undefined && dueAtMs <= this.nowMs);
    due.sort(([, a], [, b]) => (a.dueAtMs ?? 0) - (b.dueAtMs ?? 0));
    return due.slice(0, limit).map(([gid, stored]) => {
      stored.dueAtMs = this.#rules.holds ? this.nowMs + holdMs : undefined;
      return gid;
    });
  }

  notePlacement(count: number, marginMs: number): PlacementNotes {
    const oldest = Math.min(this.nowMs, ...[...this.messages.values()].map(({ record }) => record.createdAtMs));
    if (count > 0) this.#placements.set(count, this.nowMs);
    for (const [other, atMs] of this.#placements) if (atMs < oldest - marginMs) this.#placements.delete(other);
    const noted = [...this.#placements].filter(([other]) => this.#rules.tellsPlacements || other === count);
    return { nowMs: this.nowMs, notedAtMs: new Map(noted) };
  }

  #movedTo(gid: string): number | undefined {
    const moved = this.#yielded.get(gid);
    return moved !== undefined && moved.untilMs > this.nowMs ? moved.count : undefined;
  }

  #store(gid: string, before: MessageRecord | undefined, { record, dueAtMs, expiresAtMs }: Change): void {
    const there = this.#messages.get(gid);
    const aDayMs = 86_400_000;
    this.#messages.set(gid, {
      record,
      dueAtMs: dueAtMs === "keep" ? there?.dueAtMs : dueAtMs === "none" ? undefined : dueAtMs,
      expiresAtMs:
        expiresAtMs === "never"
          ? isFinished(record.state)
            ? (there?.expiresAtMs ?? NEVER)
            : this.#rules.keepsUnfinished
              ? NEVER
              : this.nowMs + aDayMs
          : expiresAtMs,
    });
    this.#stores(this.shard, gid, before, record);
  }
}
