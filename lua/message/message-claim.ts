import { messageKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageClaimScript = loadScript("message-claim", import.meta.url);

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
