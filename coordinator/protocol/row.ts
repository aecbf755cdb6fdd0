/** How an epoch was begun: Redis's state stood (`keep`) or is written anew from Postgres (`rebuild`). */
export const RestoreMode = { keep: "keep", rebuild: "rebuild" } as const;
export type RestoreMode = (typeof RestoreMode)[keyof typeof RestoreMode];

/** Why entries have to be appended again: the log went on at a position that does not follow `at`. */
export interface Gap {
  /** `applied` when the gap was seen; a gap elsewhere is history */
  readonly at: number;
  /** stream sequence of the log record that did not follow */
  readonly streamSeq: number;
}

/** The row of a shard in Postgres: the truth that everything is compared with. */
export interface ShardRow {
  readonly shard: number;
  /** 0 before the first epoch */
  readonly epoch: number;
  /** seq of the last applied entry of `epoch` */
  readonly applied: number;
  /** nonce of the attempt that began `epoch`; empty before the first */
  readonly attempt: string;
  readonly mode: RestoreMode;
  /** `epoch` began with free units of a sale that had been flagged sold out: a gateway may believe that for a moment more */
  readonly flagged: boolean;
  readonly gap: Gap | null;
  /** true if a constraint was violated in this epoch: history is wrong, the shard has to be rebuilt */
  readonly wall: boolean;
  /** why the shard must not sell until an operator looked at it; null normally */
  readonly halted: string | null;
  /** its units move to other shards and it gets none, so that its server can be stopped */
  readonly draining: boolean;
}
