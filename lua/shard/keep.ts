import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const keepScript = loadScript("keep", import.meta.url);

export interface KeepShard {
  readonly shard: number;
  readonly attempt: string;
  /** of the server that was closed */
  readonly replicationId: string;
  /** the epoch that ends */
  readonly fromEpoch: number;
  /** last id of the outbox at the close */
  readonly upto: string;
  /** the epoch that begins */
  readonly toEpoch: number;
}

export interface KeepAnswer {
  readonly status: typeof Status.ok | typeof Status.duplicate | typeof Status.overtaken;
}

/** Begins `toEpoch` on the state that Redis has: the outbox is emptied, its last id becomes `<toEpoch>-0`. Safe to repeat. */
export const keepShard = async (redis: ScriptRedis, request: KeepShard): Promise<KeepAnswer> => {
  const keys = shardKeys(request.shard);
  const reply = await keepScript
    .run(
      redis,
      [keys.epoch, keys.open, keys.attempt, keys.outbox, keys.applied],
      [request.attempt, request.replicationId, request.fromEpoch, request.upto, request.toEpoch],
    )
    .catch(onReplica(Status.overtaken));
  return { status: reply as KeepAnswer["status"] };
};
