import { z } from "zod";
import { RestoreMode } from "./row.ts";
import { shownAsIs } from "./unknown.ts";

/** Where an attempt to begin an epoch is (DESIGN 7.1). */
export const AttemptPhase = {
  ask: "ask",
  close: "close",
  flush: "flush",
  mark: "mark",
  /** until a worker has come to the marker */
  await: "await",
  /** Redis's state stands */
  keep: "keep",
  /** Redis's state is written anew from Postgres */
  restore: "restore",
  /** before the last step, until another server that may still sell has stopped, or nobody believes a withdrawn flag */
  wait: "wait",
  open: "open",
} as const;
export type AttemptPhase = (typeof AttemptPhase)[keyof typeof AttemptPhase];

/**
 * Sent on core NATS while an attempt runs, at every step and with every chunk that is restored, and once more when it has
 * ended. For people's eyes: nothing rests on it.
 */
export const attemptNewsSchema = z.object({
  shard: z.int().min(0),
  holder: z.string().describe("who makes the attempt"),
  phase: shownAsIs(AttemptPhase),
  orders: z.int().min(0).describe("orders written so far"),
  ofUnits: z.int().min(0).describe("units of all orders that there are to write: as many as orders, or more; 0 before it is known"),
  result: z.string().nullable().describe("how it ended; null while it runs"),
});
export type AttemptNews = Readonly<z.infer<typeof attemptNewsSchema>>;

export const ShardCondition = {
  open: "open",
  /** an epoch has to begin, or is beginning: buyers hear `recovering` */
  recovering: "recovering",
  /** does not sell until an operator looked */
  halted: "halted",
  /** open; its units move to other shards and no new sale is put on it */
  draining: "draining",
  /** draining, and nothing on sale is left on it: its server can be stopped */
  drained: "drained",
  /** its Redis does not answer a worker */
  away: "away",
} as const;
export type ShardCondition = (typeof ShardCondition)[keyof typeof ShardCondition];

/** What an operator wants to know of a shard, read from Redis and Postgres one after the other. */
export const shardFactsSchema = z.object({
  shard: z.int().min(0),
  state: shownAsIs(ShardCondition),
  epoch: z.int().min(0).describe("of the row in Postgres; 0 before the first"),
  redisEpoch: z.int().min(0).nullable().describe("Redis's copy; null if it does not answer, 0 if it has none"),
  mode: shownAsIs(RestoreMode).describe("how the epoch began"),
  holder: z
    .string()
    .nullable()
    .describe("the coordinator that holds the lease, as it calls itself; null if nobody does or it is not known"),
  outboxEntries: z
    .int()
    .min(0)
    .nullable()
    .describe("entries that Postgres has not applied, or that are not settled yet; null if Redis does not answer"),
  oldestMs: z
    .int()
    .min(0)
    .nullable()
    .optional()
    .describe("how long ago the first entry was made that Postgres has not applied; null if it has all, or Redis does not answer"),
  sales: z.int().min(0).describe("sales on sale that this shard has a part of"),
  /** of those sales */
  units: z.object({
    left: z.int().min(0).nullable().describe("in Redis, not taken; null if it does not answer"),
    reserved: z.int().min(0).nullable().describe("taken and not yet applied, about: the two stores are read one after the other"),
    sold: z.int().min(0).describe("in live orders"),
    arriving: z.int().min(0).describe("granted, and not yet taken in"),
  }),
  memory: z
    .object({
      usedBytes: z.int().min(0).describe("what counts towards its bound"),
      mostBytes: z.int().min(0).describe("maxmemory; 0: no bound"),
    })
    .nullable()
    .optional()
    .describe("of its Redis, with everything else that is on that server; null if it does not answer"),
  halted: z.string().nullable().describe("why it is halted"),
  draining: z.boolean(),
  /** the attempt to begin an epoch that runs, or ended last; null if none was heard of */
  attempt: z
    .object({
      ...attemptNewsSchema.omit({ shard: true }).shape,
      agoMs: z.int().min(0).describe("since it was heard of"),
    })
    .nullable(),
});
export type ShardFacts = Readonly<z.infer<typeof shardFactsSchema>>;

export const allShardFactsSchema = z.array(shardFactsSchema);

/** Its Redis refuses what takes memory: nothing is sold there, what is sold is carried on. */
export const isFull = ({ memory }: Pick<ShardFacts, "memory">): boolean =>
  memory !== undefined && memory !== null && memory.mostBytes > 0 && memory.usedBytes > memory.mostBytes;

/** What can be asked for one shard. */
export const ShardChange = {
  drain: "drain",
  undrain: "undrain",
  /** takes a halt away: what could not be applied is tried again, and halts the shard again if it still cannot */
  retry: "retry",
  /** gives up what a closed shard's Redis holds beyond Postgres, and rebuilds it from Postgres */
  discard: "discard",
} as const;
export type ShardChange = (typeof ShardChange)[keyof typeof ShardChange];

export const changeShardSchema = z.strictObject({ shard: z.int().min(0), change: z.enum(ShardChange) });
export type ChangeShard = Readonly<z.infer<typeof changeShardSchema>>;

/** `<host>/<process id>`, behind the nonce of a lease's token: for people, no script reads it. */
export const holderToken = (nonce: string, holder: string): string => (holder === "" ? nonce : `${nonce} ${holder}`);
/** @returns null if nobody holds the lease, or the holder did not say who it is */
export const holderOf = (token: string): string | null => {
  const at = token.indexOf(" ");
  return at < 0 ? null : token.slice(at + 1);
};
