import type { ShardRow } from "#protocol/row";
import { AttemptResult, endedBy, type Attempt, type Ended } from "./attempt.ts";
import type { StoredRecord } from "../relay/append-window.ts";
import type { LogHealth } from "../relay/relay-ports.ts";

const POLL_FIRST_MS = 5;
const POLL_MOST_MS = 100;
/** How often the log is looked at while an attempt waits for its marker. */
const LOG_LOOK_MS = 1_000;
/** A record that a dead worker holds is delivered again after 10 s (ack_wait): no progress for longer is a surprise. */
const NO_PROGRESS_MS = 15_000;

/** What an attempt has sent, and what it knew then. */
interface Sent {
  readonly asked: ShardRow;
  readonly marker: StoredRecord;
  readonly brokerId: string;
}

/** @returns the row if it is in this attempt's epoch, how the attempt ends if it ends, undefined while it has to wait */
const judge = (row: ShardRow, nonce: string, { asked, marker }: Sent): ShardRow | Ended | undefined => {
  if (row.epoch > asked.epoch) return row.epoch === asked.epoch + 1 && row.attempt === nonce ? row : endedBy(AttemptResult.overtaken);
  if (row.halted !== null) return endedBy(AttemptResult.halted);
  const { gap } = row;
  if (gap !== null && gap.at === row.applied && gap.streamSeq >= marker.streamSeq) return endedBy(AttemptResult.gap);
  return undefined;
};

const hasChanged = (health: LogHealth, { marker, brokerId }: Sent): boolean =>
  health.brokerId !== brokerId || health.lastSeq < marker.streamSeq;

/**
 * Waits until the row has left the epoch that the marker ends. An attempt given up while the workers are away makes no
 * storm: the next begins by asking the row, before it closes or appends anything.
 */
export const awaitRow = async ({ rows, log, clock, stop, nonce }: Attempt, sent: Sent): Promise<ShardRow | Ended> => {
  let progress = "";
  let movedAtMs = clock.monotonicMs();
  let lookedAtMs = movedAtMs;
  let consumedSeq = 0;
  for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(pollMs * 2, POLL_MOST_MS)) {
    const row = await rows.row().catch(() => undefined);
    if (stop.aborted) return endedBy(AttemptResult.notHolder);
    const judged = row === undefined ? undefined : judge(row, nonce, sent);
    if (judged !== undefined) return judged;
    const nowMs = clock.monotonicMs();
    if (nowMs - lookedAtMs >= LOG_LOOK_MS) {
      lookedAtMs = nowMs;
      const health = await log.verify().catch(() => undefined);
      if (health !== undefined && hasChanged(health, sent)) return endedBy(AttemptResult.logChanged);
      consumedSeq = health?.consumedSeq ?? 0;
    }
    const now = `${row?.applied} ${row?.gap?.streamSeq} ${consumedSeq}`;
    if (now !== progress) movedAtMs = nowMs;
    progress = now;
    if (nowMs - movedAtMs > NO_PROGRESS_MS) return endedBy(AttemptResult.noProgress);
    await clock.sleep(pollMs, stop);
  }
};
