import { formatPosition, parsePosition } from "#lua/core/position";
import { Status } from "#lua/core/codes";
import type { ShardRow } from "#protocol/row";
import { SOLD_OUT_BELIEVED_MS } from "#protocol/sale";
import { AttemptPhase } from "#protocol/shard-facts";
import { AttemptResult, endedBy, isEnded, type Attempt, type Ended } from "./attempt.ts";
import { AppendWindow, type StoredRecord } from "../relay/append-window.ts";
import { joinRecords } from "../relay/record-join.ts";
import type { ClosedShard } from "./sole-server.ts";

/** Entries a read of the flush takes. */
const FLUSH_ENTRIES = 256;
/** keep, open and restore are safe to repeat; a store that fails more often gets a new attempt. */
const TRIES = 3;
const RETRY_MS = 100;

/** The lease is not this process's any more, for all it knows: whatever comes next is for its next holder. */
const lostLease = ({ stop }: Attempt): Ended | undefined => (stop.aborted ? endedBy(AttemptResult.notHolder) : undefined);

/**
 * Appends what the outbox holds, under its own epoch: wins that somebody was answered with. Entries of an epoch that is
 * not the row's are left out, because Postgres refuses them.
 */
export const flush = async (attempt: Attempt, asked: ShardRow, { epoch }: ClosedShard): Promise<Ended | undefined> => {
  const { shard, store, log } = attempt;
  if (epoch !== asked.epoch || epoch === 0) return undefined;
  const window = new AppendWindow(log, 0, () => undefined);
  let seq = 0;
  for (let read; (read = await store.readOutbox({ epoch, seq }, FLUSH_ENTRIES)).length > 0;) {
    const entries = read.filter((item) => item.epoch === epoch).map(({ entry }) => entry);
    for (const record of joinRecords(shard, epoch, entries, log.payloadBytes())) await window.send(record);
    const lost = lostLease(attempt);
    if (lost !== undefined) return lost;
    if (window.failure !== undefined) break;
    seq = read.at(-1)?.entry.seq ?? seq;
  }
  await window.drain();
  const { failure } = window;
  if (failure?.cause === "full") return endedBy(AttemptResult.logFull);
  // joined for another broker than is there now
  if (failure?.cause === "too_large" && failure.error === undefined) return endedBy(AttemptResult.logChanged);
  if (failure !== undefined) throw failure.error;
  return undefined;
};

/** Appends the marker, after which no entry of the epoch before counts. */
export const mark = async (attempt: Attempt, asked: ShardRow, { epoch, last }: ClosedShard): Promise<StoredRecord | Ended> => {
  const { shard, log, nonce } = attempt;
  const lost = lostLease(attempt);
  if (lost !== undefined) return lost;
  const answer = await log.append({
    type: "marker",
    shard,
    begins: asked.epoch + 1,
    from: asked.epoch,
    redisEpoch: epoch,
    upto: parsePosition(last) === undefined ? formatPosition({ epoch: 0, seq: 0 }) : last,
    attempt: nonce,
  });
  if (answer.status === "full") return endedBy(AttemptResult.logFull);
  if (answer.status === "too_large") throw new Error(`the broker takes no message of ${answer.bytes} bytes: raise max_payload`);
  return { streamSeq: answer.streamSeq, lastSeq: 0, bytes: answer.bytes };
};

/**
 * Another server may go on selling until its permission runs out; that cannot be prolonged, because the row names this
 * attempt now: every permission ends one lifetime after its row was read, however late it was given. An attempt that ended
 * before it had waited leaves its name in the row and on this server, but not its epoch: that comes after the wait.
 */
export const waitOutOthers = async (attempt: Attempt): Promise<Ended | undefined> => {
  attempt.step(AttemptPhase.wait);
  await attempt.clock.sleep(attempt.openMs, attempt.stop);
  return lostLease(attempt);
};

/**
 * A Redis that had lost orders before anybody stored them has units again of which a gateway may still believe that they
 * are gone. The commit that began the epoch withdrew the flag: until the belief has run out too, nobody may find those units
 * (P5). A rebuild waits by itself, beside its work.
 */
export const waitForFlags = async (attempt: Attempt, begunMs: number): Promise<Ended | undefined> => {
  const { clock, step, stop } = attempt;
  const leftMs = begunMs + SOLD_OUT_BELIEVED_MS - clock.monotonicMs();
  if (leftMs <= 0) return undefined;
  step(AttemptPhase.wait);
  await clock.sleep(leftMs, stop);
  return lostLease(attempt);
};

/**
 * Takes over what Redis has, under the new epoch, without the sales that are archived: this server may have lost that they
 * were closed, and would sell them. None is archived by a look at an earlier epoch once the row is in this one (DESIGN 7.6).
 */
export const keep = async (attempt: Attempt, fromEpoch: number, closed: ClosedShard): Promise<Ended | undefined> => {
  const { store, rows, nonce } = attempt;
  const toEpoch = fromEpoch + 1;
  const sales = await repeat(attempt, () => store.listSales());
  if (isEnded(sales)) return sales;
  const looked = await repeat(attempt, () => rows.rowAndArchived(sales));
  if (isEnded(looked)) return looked;
  const overtaken = judgeRow(attempt, looked.row, toEpoch);
  if (overtaken !== undefined) return overtaken;
  const { replicationId, last: upto } = closed;
  const request = { attempt: nonce, replicationId, fromEpoch, upto, toEpoch, archived: looked.archived };
  const kept = await repeat(attempt, () => store.keep(request));
  if (isEnded(kept)) return kept;
  return kept.status === Status.overtaken ? endedBy(AttemptResult.overtaken) : undefined;
};

/** Has a worker write the keys anew from Postgres. */
export const restore = async (attempt: Attempt, epoch: number, replicationId: string): Promise<Ended | undefined> => {
  const { rows, step, stop, nonce } = attempt;
  const restored = await repeat(
    attempt,
    () => rows.restore({ epoch, attempt: nonce, replicationId }, stop, (progress) => step(AttemptPhase.restore, progress)),
    (answer) => answer === "unavailable",
  );
  if (isEnded(restored)) return restored;
  if (restored === "done") return undefined;
  return endedBy(restored === "overtaken" ? AttemptResult.overtaken : AttemptResult.restoreFailed);
};

/** An attempt that was overtaken stops before it writes. */
export const checkRow = async (attempt: Attempt, epoch: number): Promise<Ended | undefined> => {
  const row = await repeat(attempt, () => attempt.rows.row());
  return isEnded(row) ? row : judgeRow(attempt, row, epoch);
};

const judgeRow = ({ nonce }: Attempt, row: ShardRow, epoch: number): Ended | undefined => {
  if (row.halted !== null) return endedBy(AttemptResult.halted);
  return row.epoch === epoch && row.attempt === nonce && !row.wall ? undefined : endedBy(AttemptResult.overtaken);
};

/**
 * Asks up to three times, with growing pauses.
 * @param isWorthATry of an answer: another try may get a better one
 * @throws what the last try threw
 */
export const repeat = async <T>(
  attempt: Attempt,
  ask: () => Promise<T>,
  isWorthATry: (answer: T) => boolean = () => false,
): Promise<T | Ended> => {
  for (let tries = 1; ; tries += 1) {
    const lost = lostLease(attempt);
    if (lost !== undefined) return lost;
    try {
      const answer = await ask();
      if (tries >= TRIES || !isWorthATry(answer)) return answer;
    } catch (error) {
      if (tries >= TRIES) throw error;
    }
    await attempt.clock.sleep(RETRY_MS * tries, attempt.stop);
  }
};
