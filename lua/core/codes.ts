/**
 * The one table of answers that the scripts give. On the wire a decision is one character; in TypeScript it is its
 * name. A code is added here first, then in the script that answers it (a decision in include/decisions.lua).
 */
export const Decision = {
  /** units taken now */
  won: "w",
  /** this purchase was made before and is not yet in Postgres: the first answer again */
  reserved: "r",
  /** this purchase was made before and is in Postgres */
  confirmed: "c",
  /** this purchase was made before and Postgres refused it */
  rejected: "x",
  /** this shard has fewer units left than asked for */
  dry: "d",
  /** other purchases used the buyer's limit up */
  limitReached: "l",
  notOpen: "n",
  closed: "e",
  paused: "p",
  /** the outbox is at its bound: Postgres or the broker is behind */
  busy: "b",
  /** the sale is here but its opening stock has not arrived */
  unstocked: "u",
  /** more units than the sale's limit, or a purchase key where the limit is 1 */
  badRequest: "m",
} as const;
export type Decision = (typeof Decision)[keyof typeof Decision];

/** Answer of a script that could not look at a single request, or of one that changes the shard's life. */
export const Status = {
  ok: "ok",
  /** the latch is not there or not this server's: an epoch has to begin first */
  recovering: "recovering",
  /** the server takes no writes (core/refusal.ts); nothing ran */
  refused: "refused",
  /** no such sale on this shard */
  unknown: "unknown",
  /** done before with the same identity; nothing changed */
  duplicate: "duplicate",
  /** no unit left to take; nothing changed */
  dry: "dry",
  /** the sale is closed; nothing changed */
  closed: "closed",
  /** entries that are not settled stand in the way; nothing changed */
  pending: "pending",
  /** older than what is there; nothing changed */
  stale: "stale",
  /** the epoch is not the caller's */
  foreign: "foreign",
  /** another token holds the lease */
  notHolder: "not_holder",
  /** this server is a replica */
  notPrimary: "not_primary",
  /** a later attempt, another server or another epoch came in between */
  overtaken: "overtaken",
  /** staged keys are missing or not counted right */
  incomplete: "incomplete",
} as const;
export type Status = (typeof Status)[keyof typeof Status];
