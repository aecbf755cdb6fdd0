import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys, stagedKeys, type SaleKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const swapScript = loadScript("swap", import.meta.url);

export interface StagedSale {
  readonly saleId: string;
  /** fields that its staged buyers' hash must have (HLEN) */
  readonly buyers: number;
  /** members that its staged grants' set must have (SCARD) */
  readonly grants: number;
}

export interface SwapShard {
  readonly shard: number;
  /** the attempt that closed the shard and names the staged keys */
  readonly attempt: string;
  /** of the server that was closed */
  readonly replicationId: string;
  /** the epoch that begins */
  readonly toEpoch: number;
  readonly sales: readonly StagedSale[];
  /** sales that the shard has (listSales), and that Postgres has not or has archived */
  readonly dropped: readonly string[];
}

export interface SwapAnswer {
  readonly status: typeof Status.ok | typeof Status.duplicate | typeof Status.overtaken | typeof Status.incomplete;
}

const all = (keys: SaleKeys): string[] => [keys.sale, keys.buyers, keys.grants];

/**
 * Begins `toEpoch` on the staged keys, which replace every sale key of the shard; the outbox is emptied and its last
 * id becomes `<toEpoch>-0`. `incomplete` changes nothing. Safe to repeat.
 */
export const swapShard = async (redis: ScriptRedis, request: SwapShard): Promise<SwapAnswer> => {
  const { shard, attempt, sales, dropped } = request;
  const keys = shardKeys(shard);
  const reply = await swapScript
    .run(
      redis,
      [
        keys.epoch,
        keys.open,
        keys.attempt,
        keys.outbox,
        keys.applied,
        keys.sales,
        keys.archived,
        ...sales.flatMap(({ saleId }) => [...all(stagedKeys(shard, attempt, saleId)), ...all(saleKeys(shard, saleId))]),
        ...dropped.flatMap((saleId) => all(saleKeys(shard, saleId))),
      ],
      [
        attempt,
        request.replicationId,
        request.toEpoch,
        sales.length,
        dropped.length,
        ...sales.flatMap((sale) => [sale.saleId, sale.buyers, sale.grants]),
        ...dropped,
      ],
    )
    .catch(onReplica(Status.overtaken));
  return { status: reply as SwapAnswer["status"] };
};
