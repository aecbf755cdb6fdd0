import { Status } from "#lua/core/codes";
import { RestoreMode, type ShardRow } from "#protocol/row";
import { AttemptPhase } from "#protocol/shard-facts";
import type { StoredRecord } from "../relay/append-window.ts";
import { AttemptResult, endedBy, isEnded, type Attempt, type AttemptOptions, type Ended } from "./attempt.ts";
import { awaitRow } from "./await-row.ts";
import { checkRow, flush, keep, mark, repeat, restore, waitForFlags, waitOutOthers } from "./steps.ts";
import type { ClosedShard } from "./sole-server.ts";

export type Attempted =
  | { readonly result: "opened"; readonly epoch: number; readonly replicationId: string; readonly marker: StoredRecord }
  | Ended;

/** What an attempt has to go by once it has asked and closed. */
interface Found {
  readonly brokerId: string;
  readonly asked: ShardRow;
  readonly closed: ClosedShard;
  /** no other server can be open by the attempt that the row named when it was asked */
  readonly isSole: boolean;
}

/**
 * One attempt to begin an epoch (DESIGN 7.1): ask, close, flush, mark, await, keep or restore, open. Each step can be
 * repeated; any surprise ends the attempt, and the next one uses a new nonce.
 * @returns the epoch that it began, or why it ended
 * @throws what a store threw
 */
export const beginEpoch = async (options: AttemptOptions, stop: AbortSignal): Promise<Attempted> => {
  const attempt: Attempt = { ...options, stop, nonce: options.random.nonce() };
  const { step } = options;
  const found = await askAndClose(attempt);
  if (isEnded(found)) return found;
  const { asked, closed, brokerId } = found;
  step(AttemptPhase.flush);
  const flushed = await flush(attempt, asked, closed);
  if (isEnded(flushed)) return flushed;
  step(AttemptPhase.mark);
  const marker = await mark(attempt, asked, closed);
  if (isEnded(marker)) return marker;
  step(AttemptPhase.await);
  const row = await awaitRow(attempt, { asked, marker, brokerId });
  if (isEnded(row)) return row;
  const filled = await fill(attempt, row, found);
  if (isEnded(filled)) return filled;
  step(AttemptPhase.open);
  const epoch = asked.epoch + 1;
  const { replicationId } = closed;
  const opened = await open(attempt, epoch, replicationId);
  return opened ?? { result: AttemptResult.opened, epoch, replicationId, marker };
};

const askAndClose = async (attempt: Attempt): Promise<Found | Ended> => {
  const { token, nonce, store, rows, log, sole, step } = attempt;
  step(AttemptPhase.ask);
  const { brokerId } = await log.verify();
  // asked before the close: an epoch that begins in between makes the marker void
  const asked = await rows.row();
  step(AttemptPhase.close);
  const closed = await store.close({ token, attempt: nonce });
  if (closed.status !== Status.ok) return endedBy(closed.status === Status.notHolder ? AttemptResult.notHolder : AttemptResult.notPrimary);
  if (asked.halted !== null) return endedBy(AttemptResult.halted);
  const isSole = sole.isProved(asked, closed);
  if (isSole) sole.note(closed.replicationId, asked.attempt);
  return { brokerId, asked, closed, isSole };
};

/** The row is in the new epoch: waits for whoever may still sell, and brings the server's keys to where the row is. */
const fill = async (attempt: Attempt, row: ShardRow, { asked, closed, isSole }: Found): Promise<Ended | undefined> => {
  const { clock, nonce, sole, step } = attempt;
  const begunMs = clock.monotonicMs();
  const waited = isSole ? undefined : await waitOutOthers(attempt);
  if (isEnded(waited)) return waited;
  sole.note(closed.replicationId, nonce);
  if (row.mode !== RestoreMode.keep) {
    step(AttemptPhase.restore);
    return await restore(attempt, asked.epoch + 1, closed.replicationId);
  }
  const believed = row.flagged ? await waitForFlags(attempt, begunMs) : undefined;
  if (isEnded(believed)) return believed;
  step(AttemptPhase.keep);
  return await keep(attempt, asked.epoch, closed);
};

const open = async (attempt: Attempt, epoch: number, replicationId: string): Promise<Ended | undefined> => {
  const { token, nonce, openMs, store } = attempt;
  // the server's time is read before the row, so that no permission outlives the row's attempt by more than its lifetime
  const state = await repeat(attempt, () => store.state());
  if (isEnded(state)) return state;
  const overtaken = await checkRow(attempt, epoch);
  if (isEnded(overtaken)) return overtaken;
  const request = { token, attempt: nonce, replicationId, epoch, untilMs: state.nowMs + openMs };
  const opened = await repeat(attempt, () => store.open(request));
  if (isEnded(opened)) return opened;
  return opened.status === Status.ok ? undefined : endedBy(AttemptResult.overtaken);
};
