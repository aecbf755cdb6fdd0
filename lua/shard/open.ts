import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const openScript = loadScript("open", import.meta.url);

export interface OpenShard {
  readonly shard: number;
  /** the caller's lease */
  readonly token: string;
  readonly attempt: string;
  /** of the server that was closed */
  readonly replicationId: string;
  readonly epoch: number;
  /** when the permission to sell ends unless renewed: ms since 1970 by the server's clock (`ShardState.nowMs`) */
  readonly untilMs: number;
}

export interface OpenAnswer {
  readonly status: typeof Status.ok | typeof Status.overtaken;
}

/** Step 4 of an attempt (DESIGN 7.1): lets the shard sell. Safe to repeat. */
export const openShard = async (redis: ScriptRedis, request: OpenShard): Promise<OpenAnswer> => {
  const keys = shardKeys(request.shard);
  const reply = await openScript
    .run(
      redis,
      [keys.lease, keys.open, keys.attempt, keys.epoch, keys.outbox],
      [request.token, request.attempt, request.replicationId, request.epoch, request.untilMs],
    )
    .catch(onReplica(Status.overtaken));
  return { status: reply as OpenAnswer["status"] };
};
