import type { Clock, Random } from "#protocol/ports";
import type { ShardRow } from "#protocol/row";
import type { StoredRecord } from "./relay/append-window.ts";
import { Cause, type LogHealth, type ShardLog } from "./relay/relay-ports.ts";
import { Relay, type RelayObserver } from "./relay/relay.ts";
import type { ShardStore } from "./shard-ports.ts";

export interface RelaySupervisorObserver extends RelayObserver {
  purged(beforeStreamSeq: number): void;
}

export interface RelaySupervisorOptions {
  readonly shard: number;
  readonly store: Pick<ShardStore, "openOutbox">;
  readonly log: ShardLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: RelaySupervisorObserver;
  /** takes the permission to sell away, whoever gave it */
  readonly close: () => Promise<unknown>;
  /** called when a relay has ended by itself */
  readonly ended: () => void;
}

interface Running {
  readonly relay: Relay;
  readonly stop: AbortController;
  end: "no" | "foreign" | "fault";
}

/** The relay of a shard's epoch, and what the keeper finds out on its behalf: causes to append again, and what to purge. */
export class RelaySupervisor {
  readonly #options: RelaySupervisorOptions;
  #running: Running | undefined;
  #consumer = "";
  /** gaps up to this stream sequence were answered by appending again */
  #gapSeenTo = 0;
  /** up to this seq everything was handed out and no ack was awaited when the log was looked at last */
  #doneTo = 0;

  constructor(options: RelaySupervisorOptions) {
    this.#options = options;
  }

  /** The relay met an entry that is not one of ours: the shard must not go on. */
  get hasFailed(): boolean {
    return this.#running?.end === "fault";
  }

  heardApplied(epoch: number, seq: number): void {
    const relay = this.#running?.relay;
    if (relay?.epoch === epoch) relay.heardApplied(seq);
  }

  stop(): void {
    this.#running?.stop.abort();
    this.#running = undefined;
  }

  /**
   * Carries an epoch that has just begun, from its first entry. `marker` is the record that began it: all before it is
   * history for good, and worth a purge whatever its size, because a consumer made anew is handed all that is there.
   */
  begin(epoch: number, replicationId: string, marker: StoredRecord): void {
    this.#start(epoch, replicationId, 0, { ...marker, bytes: Number.POSITIVE_INFINITY }).applied.applied(0);
  }

  /**
   * Sees to an open shard: carries on where the log ends (after another coordinator, or with what is running), appends
   * again for a cause, purges.
   */
  async tend(row: ShardRow, replicationId: string, health: LogHealth, tenure: AbortSignal): Promise<void> {
    const relay = await this.#relayOf(row, replicationId, tenure);
    if (relay === undefined) return;
    relay.heardApplied(row.applied);
    const cause = await this.#findCause(relay, row, health);
    if (cause !== undefined) {
      // a consumer made anew may belong to a stream made anew: what was noted about its sequences is void
      if (cause === Cause.consumer) relay.applied.forget();
      this.#gapSeenTo = cause === Cause.consumer ? 0 : health.lastSeq;
      relay.again(cause, row.applied);
    }
    relay.allow(health.brokerId);
    if (relay.isFull) await this.makeRoom(row);
    else await this.#purge(relay.applied.due());
  }

  /**
   * The log is full. Drops what is not needed: everything before the record at which the worker stopped with a gap
   * (it has come to all of that; what it did not apply is appended again from the outbox), or, when the log's last
   * entry of the row's epoch is applied, everything before that; with no entry of the epoch, all of it is history.
   */
  async makeRoom(row: ShardRow): Promise<void> {
    const { log } = this.#options;
    const { lastSeq } = await log.verify();
    const last = await log.lastEntry(row.epoch);
    const afterGap = row.gap !== null && row.gap.at === row.applied ? Math.min(row.gap.streamSeq, lastSeq) : 0;
    const applied = last === undefined ? lastSeq : last.seq <= row.applied ? last.streamSeq : 0;
    await this.#purge(Math.max(afterGap, applied, this.#running?.relay.applied.safe ?? 0));
  }

  async #purge(before: number | undefined): Promise<void> {
    if (before === undefined || before === 0) return;
    await this.#options.log.purge(before);
    this.#running?.relay.applied.purged(before);
    this.#options.observer.purged(before);
  }

  /** The running relay, or a new one behind the log's last entry if it is not of this epoch and server. */
  async #relayOf(row: ShardRow, replicationId: string, tenure: AbortSignal): Promise<Relay | undefined> {
    const running = this.#running;
    if (running?.end === "no" && running.relay.epoch === row.epoch && running.relay.replicationId === replicationId) return running.relay;
    this.stop();
    const last = await this.#options.log.lastEntry(row.epoch);
    if (tenure.aborted) return undefined;
    const seed = last === undefined ? undefined : { streamSeq: last.streamSeq, lastSeq: last.seq, bytes: Number.POSITIVE_INFINITY };
    return this.#start(row.epoch, replicationId, Math.max(last?.seq ?? 0, row.applied), seed);
  }

  /** @returns why what is in the outbox has to be appended again, if it has (DESIGN 4.5, 7.2) */
  async #findCause(relay: Relay, row: ShardRow, health: LogHealth): Promise<Cause | undefined> {
    const before = this.#consumer;
    this.#consumer = health.consumer;
    const doneTo = this.#doneTo;
    this.#doneTo = 0;
    if (before !== "" && before !== health.consumer) return Cause.consumer;
    if (row.gap !== null && row.gap.at === row.applied && row.gap.streamSeq > this.#gapSeenTo) return Cause.gap;
    // The row was read after the look that said so: had a worker acked what the row lacks, it would be there.
    if (row.applied < doneTo) return Cause.forgotten;
    const { storedTo } = relay;
    if (storedTo <= row.applied) return undefined;
    const last = await this.#options.log.lastEntry(relay.epoch);
    if (last === undefined || last.seq < storedTo) return Cause.logBehind;
    if (!health.awaitsAck && health.deliveredSeq >= last.streamSeq) this.#doneTo = last.seq;
    return undefined;
  }

  #start(epoch: number, replicationId: string, from: number, seed: StoredRecord | undefined): Relay {
    const { shard, store, log, clock, random, observer, close, ended } = this.#options;
    this.stop();
    this.#consumer = "";
    this.#gapSeenTo = 0;
    this.#doneTo = 0;
    const relay = new Relay({ shard, epoch, replicationId, from, outbox: store.openOutbox(), log, clock, random, observer });
    if (seed !== undefined) relay.applied.stored(seed);
    const running: Running = { relay, stop: new AbortController(), end: "no" };
    this.#running = running;
    const end = (how: "foreign" | "fault"): void => {
      if (running.stop.signal.aborted) return;
      running.end = how;
      ended();
    };
    void relay.run(running.stop.signal).then(
      () => end("foreign"),
      async (error: unknown) => {
        // First, because the process may end for this fault: what would be sold behind such an entry cannot be carried.
        await close().catch((failed: unknown) => observer.fault(failed));
        observer.fault(error);
        end("fault");
      },
    );
    return relay;
  }
}
