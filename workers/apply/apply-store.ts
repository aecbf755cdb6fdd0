import type { ShardRow } from "#protocol/row";

/** One order as an entry has it. */
export interface PlannedOrder {
  readonly saleId: string;
  readonly uid: string;
  readonly key: string;
  readonly units: number;
  readonly seq: number;
  /** place in its entry, from 0 */
  readonly index: number;
  readonly atMs: number;
}

export interface PlannedGrant {
  readonly saleId: string;
  readonly grantId: string;
  readonly units: number;
}

/** Units that the donor's Redis has given up for another shard (DESIGN 7.3). */
export interface PlannedWithdrawal {
  readonly saleId: string;
  readonly seq: number;
  readonly receiver: number;
  readonly units: number;
}

/** A log record as it arrived. */
export interface LogDelivery {
  readonly shard: number;
  /** its sequence number in the stream */
  readonly streamSeq: number;
  readonly body: Uint8Array;
}

export interface RejectedOrder {
  readonly seq: number;
  readonly index: number;
  readonly reason: string;
}

/** What became of a grant that an entry says was taken in. */
export const GrantFate = { taken: "taken", doneBefore: "done_before", unknown: "unknown" } as const;
export type GrantFate = (typeof GrantFate)[keyof typeof GrantFate];

/** What became of units that an entry says were withdrawn. */
export const WithdrawFate = {
  /** they are a grant for the receiver now */
  sent: "sent",
  /** the quota has not so many unsold units: nothing has changed, history is wrong */
  overdrawn: "overdrawn",
  /** the shard does not have the sale */
  unknown: "unknown",
} as const;
export type WithdrawFate = (typeof WithdrawFate)[keyof typeof WithdrawFate];

/** Everything that one transaction does to one shard, whose row it has locked. */
export interface ApplyTransaction {
  /**
   * Inserts orders of `epoch` by one statement.
   * @returns those that the unique key refused
   */
  insertOrders(epoch: number, orders: readonly PlannedOrder[]): Promise<readonly PlannedOrder[]>;
  /** Inserts orders as `rejected`; binds nobody. */
  insertRejected(epoch: number, orders: readonly PlannedOrder[], reason: string): Promise<void>;
  /** Makes orders that this transaction inserted `rejected`. */
  rejectInserted(epoch: number, orders: readonly PlannedOrder[], reason: string): Promise<void>;
  /**
   * Raises `sold` where it stays within the quota.
   * @returns sales whose quota refused, or that the shard does not have: nothing has changed for those
   */
  sell(units: ReadonlyMap<string, number>): Promise<readonly string[]>;
  /** quota - sold; undefined if the shard does not have the sale */
  roomOf(saleId: string): Promise<number | undefined>;
  /**
   * Makes `sent` grants `done`; raises quota, or lowers sold for returned units.
   * @returns one fate for each grant
   */
  takeGrants(grants: readonly PlannedGrant[]): Promise<readonly GrantFate[]>;
  /**
   * Lowers the shard's quota, where what is sold stays within it, and records the receiver's grant: by one statement, so
   * that the units are in exactly one place. A receiver that does not have the sale gets nothing: the grant is the
   * donor's own then.
   */
  withdraw(epoch: number, withdrawal: PlannedWithdrawal): Promise<WithdrawFate>;
  /** Sets the position, clears gap and halt. */
  advance(applied: number, wall: boolean): Promise<void>;
  recordGap(at: number, streamSeq: number): Promise<void>;
  /**
   * Begins the epoch after `from` at applied 0 and withdraws the sold-out flags of the shard's sales.
   * @returns false if the row is not at (from, applied) any more
   */
  beginEpoch(begin: {
    readonly from: number;
    readonly applied: number;
    readonly attempt: string;
    readonly mode: ShardRow["mode"];
  }): Promise<boolean>;
  /** Stores the record for an operator; a second time changes nothing. @returns false if it was there */
  park(delivery: LogDelivery, reason: string): Promise<boolean>;
  halt(reason: string): Promise<void>;
  /** orders of `epoch` that were refused, in order */
  rejectedOf(epoch: number): Promise<readonly RejectedOrder[]>;
}

export interface ApplyStore {
  /**
   * Runs `work` in one transaction with the shard's row locked; commits when it resolves, rolls back when it rejects.
   * @throws Unappliable for data that can never be stored; anything else is a fault, after which the outcome may be
   * unknown: the caller repeats
   */
  transaction<T>(shard: number, work: (row: ShardRow, transaction: ApplyTransaction) => Promise<T>): Promise<T>;
}

/** An entry that cannot be applied, however often it is tried (DESIGN 7.2: close the shard and alert, never skip). */
export class Unappliable extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "Unappliable";
  }
}
