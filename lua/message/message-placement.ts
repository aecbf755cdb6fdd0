import { messageKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messagePlacementScript = loadScript("message-placement", import.meta.url);

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
