import type { Redis } from "ioredis";
import type { Reply } from "#protocol/requests";
import type { ChangeShard, ShardFacts } from "#protocol/shard-facts";
import type { Database } from "../db/database.ts";
import type { AttemptBoard } from "./attempt-board.ts";
import { changeShard } from "./change.ts";
import { readShardFacts } from "./facts.ts";

/** What operators ask about shards. */
export interface ShardAdmin {
  /** @param all tells `oldestMs` and `memory`, too */
  facts(all: boolean): Promise<readonly ShardFacts[]>;
  /** @returns the shard's facts afterwards */
  change(change: ChangeShard): Promise<Reply<ShardFacts>>;
}

export interface ShardAdminOptions {
  readonly database: Database;
  /** how many shards are configured */
  readonly shards: number;
  readonly redisOf: (shard: number) => Redis;
  readonly attempts: AttemptBoard;
}

export const shardAdmin = (options: ShardAdminOptions): ShardAdmin => {
  const facts = (all: boolean): Promise<readonly ShardFacts[]> => readShardFacts(options, all);
  return {
    facts,
    change: async (change) => {
      const answer = await changeShard(options, change);
      return answer.ok ? { ok: true, value: (await facts(false))[change.shard] as ShardFacts } : answer;
    },
  };
};
