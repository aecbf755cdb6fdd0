import { Status } from "../core/codes.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { parsePosition, type Position } from "../core/position.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const withdrawScript = loadScript("withdraw", import.meta.url);

export interface Withdraw {
  /** the donor */
  readonly shard: number;
  /** the epoch the caller believes in */
  readonly epoch: number;
  readonly saleId: string;
  /** most units to take, from 1 */
  readonly units: number;
  /** shard that receives them; has to be one of the sale's */
  readonly receiver: number;
  /** the sale's stock moves on the donor as the caller saw them (stock.ts): another number means that others decided meanwhile */
  readonly moves: number;
}

export type WithdrawAnswer =
  | {
      readonly status: typeof Status.ok;
      readonly position: Position;
      /** units taken: those asked for, or all that were left */
      readonly units: number;
    }
  | {
      readonly status:
        | typeof Status.dry
        | typeof Status.closed
        | typeof Status.stale
        | typeof Status.recovering
        | typeof Status.unknown
        | typeof Status.foreign;
    };

/**
 * Takes free units out for another shard and appends a `withdrawn` entry (DESIGN 7.3). A repeat after a lost answer is
 * `stale`: what was taken the first time is on its way.
 */
export const withdraw = async (redis: ScriptRedis, request: Withdraw): Promise<WithdrawAnswer> => {
  const { shard, epoch, saleId, units, receiver, moves } = request;
  const keys = shardKeys(shard);
  const reply = await withdrawScript
    .run(redis, [keys.open, keys.epoch, keys.outbox, saleKeys(shard, saleId).sale], [epoch, saleId, units, receiver, moves])
    .catch(onReplica([Status.recovering]));
  const [status, id, taken] = reply as [WithdrawAnswer["status"], string?, number?];
  if (status !== Status.ok) return { status };
  const position = parsePosition(id ?? "");
  if (position === undefined) throw new Error(`withdraw: ${id} is not a position`);
  return { status, position, units: Number(taken) };
};
