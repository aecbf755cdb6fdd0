import { InvariantViolation, Invariant } from "#lua/core/invariant";
import { shardPlace } from "#lua/core/keys";
import { parsePosition } from "#lua/core/position";
import type { ShardState } from "#lua/shard/shard-state";
import type { ShardRow } from "#protocol/row";

/** One look at an open shard: what its Redis says, and then what Postgres says. */
export interface Look {
  readonly state: ShardState;
  readonly row: ShardRow;
}

const seqOf = (text: string, epoch: number): number => {
  const position = parsePosition(text);
  return position?.epoch === epoch ? position.seq : 0;
};

const history = (row: ShardRow, had: string): InvariantViolation =>
  new InvariantViolation(Invariant.history, shardPlace(row.shard), `Postgres has ${row.epoch}-${row.applied}, and once had ${had}`);

/**
 * The invariant that a look at an open shard finds violated. A Redis that came back with less is not open (its replication id is another);
 * what is found here has another cause: Postgres lost commits or was restored from an older copy, or somebody changed keys.
 * @param before the look before this one, in the same tenure of the lease
 */
export const findViolation = ({ state, row }: Look, before: Look | undefined): InvariantViolation | undefined => {
  if (!state.isOpen) return undefined;
  // Settled in Redis only after the commit, and read before the row: the row cannot be behind it.
  if (state.epoch === row.epoch && row.applied < seqOf(state.applied, row.epoch)) return history(row, state.applied);
  if (before === undefined) return undefined;
  const was = before.row;
  if (row.epoch < was.epoch || (row.epoch === was.epoch && row.applied < was.applied)) return history(row, `${was.epoch}-${was.applied}`);
  // What was applied then was an entry of this outbox.
  if (state.epoch === was.epoch && seqOf(state.last, was.epoch) < was.applied)
    return new InvariantViolation(
      Invariant.settled,
      shardPlace(row.shard),
      `Postgres has ${was.epoch}-${was.applied}, the outbox ends at ${state.last}`,
    );
  return undefined;
};

/** Whether the shard may go on as it is: open, on this server, in the epoch and by the attempt that the row names. */
export const isSound = ({ state, row }: Look): boolean =>
  state.isOpen && state.epoch === row.epoch && state.attempt === row.attempt && !row.wall && row.halted === null;
