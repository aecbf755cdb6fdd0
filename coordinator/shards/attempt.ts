import { formatPosition, parsePosition } from "#lua/core/position";
import { Status } from "#lua/core/codes";
import type { ShardClosed } from "#lua/shard/close";
import type { Clock, Random } from "#protocol/ports";
import type { RestoreProgress } from "#protocol/requests";
import { RestoreMode, type ShardRow } from "#protocol/row";
import { SOLD_OUT_BELIEVED_MS } from "#protocol/sale";
import { AttemptPhase } from "#protocol/shard-facts";
import { AppendWindow, type StoredMessage } from "./relay/append-window.ts";
import { joinMessages } from "./relay/message-join.ts";
import type { ShardLog } from "./relay/relay-ports.ts";
import type { Rows, ShardStore } from "./shard-ports.ts";

/** How an attempt ended. Everything but `opened` leaves the shard closed; a later attempt begins anew. */
export const AttemptResult = {
  opened: "opened",
  /** the row forbids selling until an operator looked at it */
  halted: "halted",
  /** another coordinator has the lease */
  notHolder: "not_holder",
  /** the server is a replica */
  notPrimary: "not_primary",
  /** a later attempt, another server or another epoch came in between */
  overtaken: "overtaken",
  /** the worker answered the marker with a gap: the flush was lost */
  gap: "gap",
  /** the row stood still, or could not be read, for too long */
  noProgress: "no_progress",
  /** the broker restarted or lost messages while the attempt waited */
  logChanged: "log_changed",
  /** the log took nothing */
  logFull: "log_full",
  /** no worker could write the keys anew */
  restoreFailed: "restore_failed",
  /** a store failed or did not answer */
  fault: "fault",
} as const;
export type AttemptResult = (typeof AttemptResult)[keyof typeof AttemptResult];

export type Attempted =
  | { readonly result: "opened"; readonly epoch: number; readonly replicationId: string; readonly marker: StoredMessage }
  | { readonly result: Exclude<AttemptResult, "opened"> };

export interface AttemptOptions {
  readonly shard: number;
  readonly token: string;
  readonly openMs: number;
  readonly store: ShardStore;
  readonly rows: Rows;
  readonly log: ShardLog;
  readonly clock: Clock;
  readonly random: Random;
  /** whether the row's attempt is known to leave no other server open than this, though its nonce is gone from it */
  readonly isAlone: (replicationId: string, attempt: string) => boolean;
  readonly alone: (replicationId: string, attempt: string) => void;
  /** told at every step, and in `restore` with every chunk */
  readonly step: (phase: AttemptPhase, restored?: RestoreProgress) => void;
}

/** Entries a read of the flush takes. */
const FLUSH_ENTRIES = 256;
const POLL_FIRST_MS = 5;
const POLL_MOST_MS = 100;
/** How often the log is looked at while an attempt waits for its marker. */
const LOG_LOOK_MS = 1_000;
/** A message that a dead worker holds is delivered again after 10 s (ack_wait): no progress for longer is a surprise. */
const NO_PROGRESS_MS = 15_000;
/** keep, open and restore are safe to repeat; a store that fails more often gets a new attempt. */
const TRIES = 3;
const RETRY_MS = 100;

class Ended extends Error {
  readonly result: Exclude<AttemptResult, "opened">;

  constructor(result: Exclude<AttemptResult, "opened">) {
    super(result);
    this.result = result;
  }
}

type Closed = Extract<ShardClosed, { status: "ok" }>;

/**
 * One attempt to begin an epoch (DESIGN 7.1): ask, close, flush, mark, restore, open. Each step can be repeated; any
 * surprise ends the attempt, and the next one uses a new nonce.
 * @throws what a store threw
 */
export const beginEpoch = async (options: AttemptOptions, stop: AbortSignal): Promise<Attempted> => {
  try {
    return await new Attempt(options, stop).run();
  } catch (error) {
    if (error instanceof Ended) return { result: error.result };
    throw error;
  }
};

/**
 * Whether no other server than the closed one can be open by the row's attempt: it is the very server that this attempt has
 * opened, or that server started again. A replica that was promoted since looks like the latter, and two coordinators, each
 * connected to one side of a failover, would open both: so only a server whose keys no replica can have is taken for itself.
 */
const isOwn = (row: ShardRow, { before, beforeOn, epoch, replicationId }: Closed): boolean =>
  row.epoch === 0 ||
  (before === row.attempt && epoch === row.epoch && (beforeOn?.replicationId === replicationId || beforeOn?.hasReplicas === false));

class Attempt {
  readonly #options: AttemptOptions;
  readonly #stop: AbortSignal;
  readonly #nonce: string;

  constructor(options: AttemptOptions, stop: AbortSignal) {
    this.#options = options;
    this.#stop = stop;
    this.#nonce = options.random.nonce();
  }

  async run(): Promise<Attempted> {
    const { token, openMs, store, rows, log, step } = this.#options;
    step(AttemptPhase.ask);
    const { brokerId } = await log.verify();
    // asked before the close: an epoch that begins in between makes the marker void
    const asked = await rows.row();
    step(AttemptPhase.close);
    const closed = await store.close({ token, attempt: this.#nonce });
    if (closed.status !== Status.ok)
      throw new Ended(closed.status === Status.notHolder ? AttemptResult.notHolder : AttemptResult.notPrimary);
    if (asked.halted !== null) throw new Ended(AttemptResult.halted);
    const { replicationId } = closed;
    const { isAlone, alone } = this.#options;
    const wasAlone = isOwn(asked, closed) || isAlone(replicationId, asked.attempt);
    if (wasAlone) alone(replicationId, asked.attempt);
    step(AttemptPhase.flush);
    await this.#flush(asked, closed);
    step(AttemptPhase.mark);
    const marker = await this.#mark(asked, closed);
    step(AttemptPhase.await);
    const row = await this.#awaitRow(asked, marker, brokerId);
    const begunMs = this.#options.clock.monotonicMs();
    const epoch = asked.epoch + 1;
    if (!wasAlone) await this.#waitOutOthers();
    alone(replicationId, this.#nonce);
    if (row.mode === RestoreMode.keep) {
      if (row.flagged) await this.#waitForFlags(begunMs);
      step(AttemptPhase.keep);
      await this.#keep(asked, closed);
    } else {
      step(AttemptPhase.restore);
      await this.#restore(epoch, replicationId);
    }
    step(AttemptPhase.open);
    // the server's time is read before the row, so that no permission outlives the row's attempt by more than its lifetime
    const { nowMs } = await this.#repeat(() => store.state());
    await this.#checkRow(epoch);
    const request = { token, attempt: this.#nonce, replicationId, epoch, untilMs: nowMs + openMs };
    const opened = await this.#repeat(() => store.open(request));
    if (opened.status !== Status.ok) throw new Ended(AttemptResult.overtaken);
    return { result: AttemptResult.opened, epoch, replicationId, marker };
  }

  #goOn(): void {
    if (this.#stop.aborted) throw new Ended(AttemptResult.notHolder);
  }

  /**
   * Appends what the outbox holds, under its own epoch: wins that somebody was told about. Entries of an epoch that is
   * not the row's are left out, because Postgres refuses them.
   */
  async #flush(asked: ShardRow, closed: Closed): Promise<void> {
    const { shard, store, log } = this.#options;
    if (closed.epoch !== asked.epoch || closed.epoch === 0) return;
    const window = new AppendWindow(log, 0, () => undefined);
    let seq = 0;
    for (let read; (read = await store.readOutbox({ epoch: closed.epoch, seq }, FLUSH_ENTRIES)).length > 0;) {
      const entries = read.filter(({ epoch }) => epoch === closed.epoch).map(({ entry }) => entry);
      for (const message of joinMessages(shard, closed.epoch, entries)) await window.send(message);
      this.#goOn();
      if (window.failure !== undefined) break;
      seq = read.at(-1)?.entry.seq ?? seq;
    }
    await window.drain();
    if (window.failure?.cause === "full") throw new Ended(AttemptResult.logFull);
    if (window.failure !== undefined) throw window.failure.error;
  }

  async #mark(asked: ShardRow, closed: Closed): Promise<StoredMessage> {
    const { shard, log } = this.#options;
    const upto = closed.last;
    this.#goOn();
    const answer = await log.append({
      type: "marker",
      shard,
      begins: asked.epoch + 1,
      from: asked.epoch,
      redisEpoch: closed.epoch,
      upto: parsePosition(upto) === undefined ? formatPosition({ epoch: 0, seq: 0 }) : upto,
      attempt: this.#nonce,
    });
    if (answer.status === "full") throw new Ended(AttemptResult.logFull);
    return { streamSeq: answer.streamSeq, lastSeq: 0, bytes: answer.bytes };
  }

  /**
   * Waits until the row has left the epoch that the marker ends. An attempt given up while the workers are away makes no
   * storm: the next begins by asking the row, before it closes or appends anything.
   */
  async #awaitRow(asked: ShardRow, marker: StoredMessage, brokerId: string): Promise<ShardRow> {
    const { rows, log, clock } = this.#options;
    let progress = "";
    let movedAtMs = clock.monotonicMs();
    let lookedAtMs = movedAtMs;
    let consumedSeq = 0;
    for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(pollMs * 2, POLL_MOST_MS)) {
      const row = await rows.row().catch(() => undefined);
      this.#goOn();
      if (row !== undefined && row.epoch > asked.epoch) {
        if (row.epoch !== asked.epoch + 1 || row.attempt !== this.#nonce) throw new Ended(AttemptResult.overtaken);
        return row;
      }
      if (row !== undefined && row.halted !== null) throw new Ended(AttemptResult.halted);
      if (row?.gap && row.gap.at === row.applied && row.gap.streamSeq >= marker.streamSeq) throw new Ended(AttemptResult.gap);
      const nowMs = clock.monotonicMs();
      if (nowMs - lookedAtMs >= LOG_LOOK_MS) {
        lookedAtMs = nowMs;
        const looked = await log.verify().catch(() => undefined);
        if (looked !== undefined && (looked.brokerId !== brokerId || looked.lastSeq < marker.streamSeq))
          throw new Ended(AttemptResult.logChanged);
        consumedSeq = looked?.consumedSeq ?? 0;
      }
      const now = `${row?.applied} ${row?.gap?.streamSeq} ${consumedSeq}`;
      if (now !== progress) movedAtMs = nowMs;
      progress = now;
      if (nowMs - movedAtMs > NO_PROGRESS_MS) throw new Ended(AttemptResult.noProgress);
      await clock.sleep(pollMs, this.#stop);
    }
  }

  async #keep(asked: ShardRow, closed: Closed): Promise<void> {
    await this.#checkRow(asked.epoch + 1);
    const kept = await this.#repeat(() =>
      this.#options.store.keep({
        attempt: this.#nonce,
        replicationId: closed.replicationId,
        fromEpoch: asked.epoch,
        upto: closed.last,
        toEpoch: asked.epoch + 1,
      }),
    );
    if (kept.status === Status.overtaken) throw new Ended(AttemptResult.overtaken);
  }

  async #restore(epoch: number, replicationId: string): Promise<void> {
    const restored = await this.#repeat(async () => {
      const answer = await this.#options.rows.restore({ epoch, attempt: this.#nonce, replicationId }, this.#stop, (restored) =>
        this.#options.step(AttemptPhase.restore, restored),
      );
      if (answer === "unavailable") throw new Ended(AttemptResult.restoreFailed);
      return answer;
    });
    if (restored === "overtaken") throw new Ended(AttemptResult.overtaken);
    if (restored !== "done") throw new Ended(AttemptResult.restoreFailed);
  }

  /** An attempt that was overtaken stops before it writes. */
  async #checkRow(epoch: number): Promise<void> {
    const row = await this.#repeat(() => this.#options.rows.row());
    if (row.halted !== null) throw new Ended(AttemptResult.halted);
    if (row.epoch !== epoch || row.attempt !== this.#nonce || row.wall) throw new Ended(AttemptResult.overtaken);
  }

  /**
   * Another server may go on selling until its permission runs out; that cannot be prolonged, because the row names this
   * attempt now: every permission ends one lifetime after its row was read, however late it was given. An attempt that ended
   * before it had waited leaves its name in the row and on this server, but not its epoch: that comes after the wait.
   */
  async #waitOutOthers(): Promise<void> {
    const { clock, openMs, step } = this.#options;
    step(AttemptPhase.wait);
    await clock.sleep(openMs, this.#stop);
    this.#goOn();
  }

  /**
   * A Redis that had lost orders before anybody stored them has units again of which a gateway may still believe that they
   * are gone. The commit that began the epoch withdrew the flag: until the belief has run out too, nobody may find those units
   * (P5). A rebuild waits by itself, beside its work.
   */
  async #waitForFlags(begunMs: number): Promise<void> {
    const { clock, step } = this.#options;
    const leftMs = begunMs + SOLD_OUT_BELIEVED_MS - clock.monotonicMs();
    if (leftMs <= 0) return;
    step(AttemptPhase.wait);
    await clock.sleep(leftMs, this.#stop);
    this.#goOn();
  }

  async #repeat<T>(step: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      this.#goOn();
      try {
        return await step();
      } catch (error) {
        if (tries >= TRIES || (error instanceof Ended && error.result !== AttemptResult.restoreFailed)) throw error;
        await this.#options.clock.sleep(RETRY_MS * tries, this.#stop);
      }
    }
  }
}
