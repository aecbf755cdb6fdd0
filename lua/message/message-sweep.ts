import { messageKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageClaimScript = loadScript("message-claim", import.meta.url);
export const messagePullScript = loadScript("message-pull", import.meta.url);
export const messagePurgeScript = loadScript("message-purge", import.meta.url);
export const messagePlacementScript = loadScript("message-placement", import.meta.url);

/** Messages of one claim for which there was no room. */
export interface PutOff {
  /** when all of that claim are due again, ms of Redis's clock */
  readonly dueAgainMs: number;
  /** by gid, how much later than that it shall be due instead */
  readonly laterMs: ReadonlyMap<string, number>;
}

const NOTHING: PutOff = { dueAgainMs: 0, laterMs: new Map() };

/**
 * Takes due messages, which become due again after `holdMs` unless they change before, and puts off those of the claim
 * before for which there was no room. At most 1,000 of each a call.
 */
export const claimMessages = async (
  redis: ScriptRedis,
  request: { readonly shard: number; readonly limit: number; readonly holdMs: number; readonly putOff?: PutOff | undefined },
): Promise<{ readonly nowMs: number; readonly gids: readonly string[] }> => {
  const { shard, limit, holdMs, putOff = NOTHING } = request;
  const args = [limit, holdMs, putOff.dueAgainMs, ...[...putOff.laterMs].flat()];
  const [now, ...gids] = (await messageClaimScript.run(redis, [messageKeys(shard).due], args)) as string[];
  return { nowMs: Number(now), gids };
};

/** Makes messages due now that are due later than `laterThanMs` from now. At most 1,000 a call. */
export const pullMessages = async (
  redis: ScriptRedis,
  { shard, laterThanMs, limit }: { shard: number; laterThanMs: number; limit: number },
): Promise<{ readonly pulled: number; readonly left: number }> => {
  const [pulled, left] = (await messagePullScript.run(redis, [messageKeys(shard).due], [laterThanMs, limit])) as [number, number];
  return { pulled, left };
};

/** Takes expired messages out of the list. At most 1,000 a call. */
export const purgeMessages = async (redis: ScriptRedis, { shard, limit }: { shard: number; limit: number }): Promise<number> => {
  const keys = messageKeys(shard);
  return (await messagePurgeScript.run(redis, [keys.finished, keys.messages], [limit])) as number;
};

/** What a shard knows about placing: its clock, and when each number of shards was noted last. */
export interface PlacementNotes {
  readonly nowMs: number;
  readonly notedAtMs: ReadonlyMap<number, number>;
}

/** Notes by how many shards gids are placed on this one; answers every such number that messages still here may know. */
export const notePlacement = async (
  redis: ScriptRedis,
  { shard, count, marginMs }: { shard: number; count: number; marginMs: number },
): Promise<PlacementNotes> => {
  const keys = messageKeys(shard);
  const reply = (await messagePlacementScript.run(redis, [keys.placements, keys.messages], [count, marginMs])) as string[];
  const [now, ...notes] = reply.map(Number);
  const notedAtMs = new Map<number, number>();
  for (let i = 0; i + 1 < notes.length; i += 2) notedAtMs.set(notes[i] as number, notes[i + 1] as number);
  return { nowMs: now as number, notedAtMs };
};
