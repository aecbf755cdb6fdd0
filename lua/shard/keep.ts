import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
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
  /** sales that this server has and that are archived */
  readonly archived: readonly string[];
}

export interface KeepAnswer {
  readonly status: typeof Status.ok | typeof Status.duplicate | typeof Status.overtaken;
}

/**
 * Begins `toEpoch` on the state that Redis has, without the archived sales: the outbox is emptied, its last id becomes
 * `<toEpoch>-0`. Safe to repeat.
 */
export const keepShard = async (redis: ScriptRedis, request: KeepShard): Promise<KeepAnswer> => {
  const { shard, archived } = request;
  const keys = shardKeys(shard);
  const ofSales = archived.flatMap((saleId) => {
    const { sale, buyers, grants } = saleKeys(shard, saleId);
    return [sale, buyers, grants];
  });
  const reply = await keepScript
    .run(
      redis,
      [keys.epoch, keys.open, keys.attempt, keys.outbox, keys.applied, keys.sales, keys.archived, ...ofSales],
      [request.attempt, request.replicationId, request.fromEpoch, request.upto, request.toEpoch, ...archived],
    )
    .catch(onReplica(Status.overtaken));
  return { status: reply as KeepAnswer["status"] };
};
