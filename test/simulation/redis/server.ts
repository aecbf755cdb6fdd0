import type { OutboxEntry } from "../../../coordinator/shards/relay/relay-ports.ts";
import type { Position } from "#lua/core/position";
import { BEGINNING_MS, type Kernel } from "../kernel/kernel.ts";
import type { Process } from "../kernel/process.ts";
import type { Exchange, Target } from "../kernel/wire.ts";
import { copyShard, emptyShard, type RedisRules, type Server, type Shard, type ShardData } from "./data.ts";
import { Journal } from "./journal.ts";

interface Reader {
  readonly exchange: Exchange<readonly OutboxEntry[]>;
  readonly after: Position;
  readonly count: number;
}

/** A replica finds a primary that has restarted within so long. */
const ATTACH_MS = 2_000;

/** The server of one shard, from its first start on; a promoted replica is another one. */
export class RedisServer implements Target, Server, Shard {
  readonly name: string;
  readonly rules: RedisRules;
  readonly server: Server = this;
  data: ShardData;
  journal = new Journal();
  run = 1;
  isUp = true;
  isPrimary = true;
  isFull = false;
  hasReplicas: boolean;
  replicationId: string;
  /** what its wall clock showed at the beginning: ms since 1970 */
  aheadMs = BEGINNING_MS;
  readonly #kernel: Kernel;
  readonly #freshId: () => string;
  /** the installation has a replica for it */
  readonly #isReplicated: boolean;
  #readers: Reader[] = [];

  constructor(kernel: Kernel, name: string, rules: RedisRules, freshId: () => string, isReplicated: boolean, from?: ShardData) {
    this.#kernel = kernel;
    this.#freshId = freshId;
    this.name = name;
    this.rules = rules;
    this.replicationId = freshId();
    this.#isReplicated = isReplicated;
    this.hasReplicas = isReplicated;
    this.data = from ?? emptyShard();
  }

  nowMs(): number {
    return this.#kernel.nowMs + this.aheadMs;
  }

  entriesAfter(after: Position, count: number): readonly OutboxEntry[] {
    const { outbox } = this.data;
    const found: OutboxEntry[] = [];
    for (const item of outbox) {
      if (item.epoch < after.epoch || (item.epoch === after.epoch && item.entry.seq <= after.seq)) continue;
      found.push(item);
      if (found.length === count) break;
    }
    return found;
  }

  /** XREAD, with BLOCK where `blockMs` is above 0. */
  read(exchange: Exchange<readonly OutboxEntry[]>, after: Position, count: number, blockMs: number): void {
    const found = this.entriesAfter(after, count);
    if (found.length > 0 || blockMs === 0) {
      exchange.answer(found);
      return;
    }
    const reader = { exchange, after, count };
    this.#readers.push(reader);
    this.#kernel.after(blockMs, () => {
      const at = this.#readers.indexOf(reader);
      if (at < 0) return;
      this.#readers.splice(at, 1);
      exchange.answer([]);
    });
  }

  /** Something may have been appended: whoever waits for it hears of it. */
  feed(): void {
    if (this.#readers.length === 0) return;
    this.#readers = this.#readers.filter((reader) => {
      const found = this.entriesAfter(reader.after, reader.count);
      if (found.length > 0) reader.exchange.answer(found);
      return found.length === 0;
    });
  }

  /**
   * kill -9 and a start after `downMs`.
   * @param lost writes that were not on its disk
   */
  restart(downMs: number, lost: number): void {
    this.isUp = false;
    this.#break();
    this.journal.takeBack(lost);
    this.#kernel.after(downMs, () => {
      this.isUp = true;
      this.replicationId = this.#freshId();
      this.hasReplicas = false;
      const { run } = this;
      if (!this.#isReplicated) return;
      this.#kernel.after(this.#kernel.draw.fraction() * ATTACH_MS, () => {
        if (this.run === run && this.isUp) this.#attach();
      });
    });
  }

  /** Its folder is gone. */
  wipe(downMs: number): void {
    this.restart(downMs, 0);
    this.data = emptyShard();
    this.journal = new Journal();
  }

  /** Never comes back. */
  end(): void {
    this.isUp = false;
    this.#break();
  }

  /** What a replica that is behind by some writes has. */
  replica(lag: number): ShardData {
    return this.journal.lookBack(lag, () => copyShard(this.data));
  }

  /** A server without a backlog takes a new replication id when its first replica attaches. */
  #attach(): void {
    this.replicationId = this.#freshId();
    this.hasReplicas = true;
  }

  #break(): void {
    this.run += 1;
    for (const { exchange } of this.#readers) exchange.fail(new Error("the connection broke"));
    this.#readers = [];
  }
}

/** A shard's primary as the installation knows it, and the one that was replaced and does not know it yet. */
export class RedisNode {
  readonly shard: number;
  current: RedisServer;
  old: RedisServer | undefined;
  /** processes that still talk to the old one */
  stale: ReadonlySet<Process> = new Set();

  constructor(shard: number, current: RedisServer) {
    this.shard = shard;
    this.current = current;
  }

  /** The server that this process is connected to. */
  of(process: Process): RedisServer {
    return this.old !== undefined && this.old.isUp && this.stale.has(process) ? this.old : this.current;
  }
}
