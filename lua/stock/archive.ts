import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const archiveScript = loadScript("archive", import.meta.url);

export interface ArchiveSale {
  readonly shard: number;
  /** the epoch the caller believes in */
  readonly epoch: number;
  readonly saleId: string;
}

export interface ArchiveSaleAnswer {
  /** `pending`: the outbox may hold an entry of it; ask again */
  readonly status: typeof Status.ok | typeof Status.pending | typeof Status.recovering | typeof Status.foreign;
}

/**
 * Takes a sale that is archived in Postgres out of Redis. Safe to repeat.
 * @throws InvariantViolation if it is not closed
 */
export const archiveSale = async (redis: ScriptRedis, { shard, epoch, saleId }: ArchiveSale): Promise<ArchiveSaleAnswer> => {
  const keys = shardKeys(shard);
  const sale = saleKeys(shard, saleId);
  const reply = await archiveScript
    .run(redis, [keys.open, keys.epoch, keys.outbox, keys.sales, keys.archived, sale.sale, sale.buyers, sale.grants], [epoch, saleId])
    .catch(onReplica(Status.recovering));
  return { status: reply as ArchiveSaleAnswer["status"] };
};
