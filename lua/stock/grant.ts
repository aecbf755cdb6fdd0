import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { parsePosition, type Position } from "../core/position.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const grantScript = loadScript("grant", import.meta.url);

export interface Grant {
  readonly shard: number;
  /** the epoch the caller believes in */
  readonly epoch: number;
  readonly saleId: string;
  readonly grantId: string;
  /** from 1 */
  readonly units: number;
}

export type GrantAnswer =
  | { readonly status: typeof Status.ok; readonly position: Position }
  | { readonly status: typeof Status.duplicate | typeof Status.recovering | typeof Status.unknown | typeof Status.foreign };

/** Takes units in, once per grant id (DESIGN 7.3), and appends a `granted` entry. */
export const grant = async (redis: ScriptRedis, { shard, epoch, saleId, grantId, units }: Grant): Promise<GrantAnswer> => {
  const keys = shardKeys(shard);
  const sale = saleKeys(shard, saleId);
  const reply = await grantScript
    .run(redis, [keys.open, keys.epoch, keys.outbox, sale.sale, sale.grants], [epoch, saleId, grantId, units])
    .catch(onReplica([Status.recovering]));
  const [status, id] = reply as [GrantAnswer["status"], string?];
  if (status !== Status.ok) return { status };
  const position = parsePosition(id ?? "");
  if (position === undefined) throw new Error(`grant: ${id} is not a position`);
  return { status, position };
};
