import { type Profile } from "../options.ts";
import {
  CLOCK_BACK,
  FLAGGED,
  LATE_ENTRY,
  LATE_KEEP,
  LATE_OPEN,
  LATE_SWAP,
  OPEN_AGAIN,
  REFUSED_GRANT,
  STAGED_LOST,
  STUCK_LOOK,
} from "./directed.ts";
import { NEW_PRIMARY, RESTARTS, STOCK_MOVES } from "./profiles.ts";
import type { Mutation } from "./mutation.ts";
import type { RedisRules } from "../redis/data.ts";
import type { PostgresRules } from "../postgres/tables.ts";

const redis = (name: string, rule: string, off: keyof RedisRules, profile?: Profile): Mutation => ({
  name,
  rule,
  twins: () => ({ redis: { [off]: false } }),
  ...(profile === undefined ? {} : { profile }),
});

const postgres = (name: string, rule: string, off: readonly (keyof PostgresRules)[], profile?: Profile): Mutation => ({
  name,
  rule,
  twins: () => ({ postgres: Object.fromEntries(off.map((rule) => [rule, false])) }),
  ...(profile === undefined ? {} : { profile }),
});

/** Rules inside the scripts. */
export const REDIS_MUTATIONS: readonly Mutation[] = [
  redis("repeat before stock", "an existing reservation answers before the stock is looked at", "repeatFirst"),
  redis("buyers' field with epoch", "a reservation holds the epoch of its order id", "fieldEpoch"),
  redis("open expires", "the permission to sell runs out unless renewed", "openExpires", NEW_PRIMARY),
  redis("latch by replication id", "a server that restarted may not sell on an old permission", "latchReplid", RESTARTS),
  redis("latch of grants", "grant and sale go by the latch, too", "latchStock", STOCK_MOVES),
  redis("close before flush", "close deletes the permission, so the outbox is frozen", "closeDeletes", CLOCK_BACK),
  redis("attempt in Redis", "keep, swap and open want the nonce that close wrote", "attempt", LATE_OPEN),
  redis("fenced last step", "keep, swap and open work only on the server that was closed", "fenceReplid", OPEN_AGAIN),
  redis("keep's last id", "keep wants the epoch and the last id that the close saw", "keepLast", LATE_KEEP),
  redis("swap only raises", "swap never goes back to an older epoch", "swapEpoch", LATE_SWAP),
  redis("swap counts", "swap wants every staged key, counted", "swapCounts", STAGED_LOST),
  redis("outbox emptied", "keep and swap empty the outbox", "emptyOutbox"),
  redis("renewal in Redis", "renew wants the epoch and the attempt that Postgres names", "renewRow", STUCK_LOOK),
  redis("settle's epoch", "settle changes only the epoch it is of", "settleEpoch", RESTARTS),
  redis("grant once", "a grant id is taken in once", "grantOnce", STOCK_MOVES),
  redis("grant's epoch", "a grant wants the epoch that its sender believes in", "grantEpoch", REFUSED_GRANT),
];

/** Rules inside Postgres's statements and the broker. */
export const STORE_MUTATIONS: readonly Mutation[] = [
  postgres("gap in the row", "a gap is written into the row, where it cannot get lost", ["recordGap"], LATE_ENTRY),
  postgres("withdrawal at once", "quota and grant change in one transaction", ["withdrawAtOnce"], STOCK_MOVES),
  postgres("epoch withdraws the flag", "a new epoch withdraws the sold-out flags of its sales", ["epochWithdraws"], FLAGGED),
  postgres("stock withdraws the flag", "a grant withdraws the sold-out flag", ["stockWithdraws"], STOCK_MOVES),
  postgres("flag at returns_seq", "a flag is set only where no unit was freed since", ["flagConditional"], STOCK_MOVES),
  {
    name: "consumer anew",
    rule: "a consumer made before the broker's start, or ahead of its stream, is replaced",
    twins: () => ({ log: { consumerAnew: false } }),
  },
];
