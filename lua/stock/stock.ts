import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const stockScript = loadScript("stock", import.meta.url);

export type Stock =
  | {
      readonly status: typeof Status.ok;
      readonly epoch: number;
      /** units not reserved */
      readonly left: number;
      /** grants taken in and withdrawals since the sale came to this shard or the shard was rebuilt; 0 = no unit ever arrived */
      readonly moves: number;
      /** the entry of the last stock move is in Postgres (true if there was none) */
      readonly movesApplied: boolean;
      readonly state: "open" | "paused" | "closed";
      readonly version: number;
      readonly limit: number;
      readonly opensAtMs: number;
      readonly closesAtMs: number;
      /** fields of the buyers' hash: buyers where the limit is 1, otherwise purchases and buyers */
      readonly buyers: number;
    }
  | { readonly status: typeof Status.recovering | typeof Status.unknown };

/** A sale's stock and definition on this shard. */
export const stock = async (redis: ScriptRedis, { shard, saleId }: { shard: number; saleId: string }): Promise<Stock> => {
  const keys = shardKeys(shard);
  const sale = saleKeys(shard, saleId);
  const reply = await stockScript.run(redis, [keys.open, keys.epoch, keys.applied, sale.sale, sale.buyers], []);
  if (!Array.isArray(reply)) return { status: reply as typeof Status.recovering | typeof Status.unknown };
  const [epoch, left, moves, movesApplied, state, version, limit, opensAt, closesAt, buyers] = reply as (string | number)[];
  return {
    status: Status.ok,
    epoch: Number(epoch),
    left: Number(left),
    moves: Number(moves),
    movesApplied: movesApplied === 1,
    state: state as "open" | "paused" | "closed",
    version: Number(version),
    limit: Number(limit),
    opensAtMs: Number(opensAt),
    closesAtMs: Number(closesAt),
    buyers: Number(buyers),
  };
};
