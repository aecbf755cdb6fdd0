/** What a mutation changes: each a rule of the stores' scripts, or of a port, that some promise rests on. */
export interface MessageRules {
  /** barrier-adjust.lua looks at the barrier before the stock (dtm: after it) */
  readonly barrierFirst: boolean;
  /** a failure of a message's own step bars it, in the same script */
  readonly failureBars: boolean;
  /** barrier-query.lua bars what it did not find */
  readonly queryBars: boolean;
  /** message-change.lua changes only the version that was read */
  readonly comparesVersion: boolean;
  /** message-create.lua keeps a message that is there */
  readonly keepsFirst: boolean;
  /** a claimed message is due again */
  readonly holds: boolean;
  /** only a finished record expires */
  readonly keepsUnfinished: boolean;
  /** a runner believes in its lease no longer than it lasts */
  readonly minds: boolean;
  /** coordinators of different numbers of shards hear of each other */
  readonly tellsPlacements: boolean;
  /** message-create.lua refuses whose knowledge is too old, or whose place was given up */
  readonly refusesMisplaced: boolean;
}

export const MESSAGE_RULES: MessageRules = {
  barrierFirst: true,
  failureBars: true,
  queryBars: true,
  comparesVersion: true,
  keepsFirst: true,
  holds: true,
  keepsUnfinished: true,
  minds: true,
  tellsPlacements: true,
  refusesMisplaced: true,
};
