import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const saleScript = loadScript("sale", import.meta.url);

export interface DefineSale {
  readonly shard: number;
  /** the epoch the caller believes in */
  readonly epoch: number;
  readonly saleId: string;
  /** raised with every change of the definition */
  readonly version: number;
  readonly state: "open" | "paused" | "closed";
  /** most units a buyer may hold; another limit for a sale that is there is an error */
  readonly limit: number;
  /** wall clock, ms since 1970 */
  readonly opensAtMs: number;
  readonly closesAtMs: number;
}

export interface DefineSaleAnswer {
  readonly status: typeof Status.ok | typeof Status.stale | typeof Status.recovering | typeof Status.foreign;
}

/** Creates a sale (without stock) or changes its definition; never its stock. `stale` if that version or a later one is there, or the sale is archived. */
export const defineSale = async (redis: ScriptRedis, sale: DefineSale): Promise<DefineSaleAnswer> => {
  const keys = shardKeys(sale.shard);
  const reply = await saleScript
    .run(
      redis,
      [keys.open, keys.epoch, keys.sales, keys.archived, saleKeys(sale.shard, sale.saleId).sale],
      [sale.epoch, sale.saleId, sale.version, sale.state, sale.limit, sale.opensAtMs, sale.closesAtMs],
    )
    .catch(onReplica(Status.recovering));
  return { status: reply as DefineSaleAnswer["status"] };
};
