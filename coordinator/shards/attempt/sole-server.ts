import type { ShardClosed } from "#lua/shard/close";
import type { ShardRow } from "#protocol/row";

/** What the close of a shard's server says of it. */
export type ClosedShard = Extract<ShardClosed, { status: "ok" }>;

/**
 * Whether no other server than the closed one can be open by the row's attempt: it is the very server that this attempt has
 * opened, or that server started again. A replica that was promoted since looks like the latter, and two coordinators, each
 * connected to one side of a failover, would open both: so only a server whose keys no replica can have is taken for itself.
 */
const isOwn = (row: ShardRow, { before, beforeOn, epoch, replicationId }: ClosedShard): boolean =>
  row.epoch === 0 ||
  (before === row.attempt && epoch === row.epoch && (beforeOn?.replicationId === replicationId || beforeOn?.hasReplicas === false));

/**
 * The one server that can be open by an attempt, as far as this keeper has found out. It is remembered from attempt to attempt,
 * because the next close takes the attempt's name from the server, and with it the proof.
 */
export class SoleServer {
  #replicationId = "";
  #attempt = "";

  /** From here on no server but this can be open by this attempt. */
  note(replicationId: string, attempt: string): void {
    this.#replicationId = replicationId;
    this.#attempt = attempt;
  }

  /** Whether no server but the closed one can be open by the attempt that the row names. */
  isProved(row: ShardRow, closed: ClosedShard): boolean {
    return isOwn(row, closed) || (this.#replicationId === closed.replicationId && this.#attempt === row.attempt);
  }
}
