import { Status } from "./codes.ts";
import { shardKeys } from "./keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "./script.ts";

export const closeScript = loadScript("close");

export interface CloseShard {
  readonly shard: number;
  /** the caller's lease */
  readonly token: string;
  /** fresh nonce of the attempt */
  readonly attempt: string;
}

export type ShardClosed =
  | {
      readonly status: typeof Status.ok;
      /** Redis's copy of the epoch; 0 if it has none */
      readonly epoch: number;
      /** last id ever given in the outbox; `0-0` if there is no outbox */
      readonly last: string;
      /** of the server that was closed: the later steps of the attempt work only there */
      readonly replicationId: string;
      /** another server may still believe that it is the primary (shard-state.ts) */
      readonly promoted: boolean;
    }
  | { readonly status: typeof Status.notHolder | typeof Status.notPrimary };

/** Step 0 of an attempt (DESIGN 7.1): nothing is appended from here until `openShard`. */
export const closeShard = async (redis: ScriptRedis, { shard, token, attempt }: CloseShard): Promise<ShardClosed> => {
  const keys = shardKeys(shard);
  const reply = await closeScript
    .run(redis, [keys.lease, keys.open, keys.attempt, keys.epoch, keys.outbox], [token, attempt])
    .catch(onReplica(Status.notPrimary));
  if (!Array.isArray(reply)) return { status: reply as typeof Status.notHolder | typeof Status.notPrimary };
  const [epoch, last, replicationId, promoted] = reply as [string, string, string, number];
  return { status: Status.ok, epoch: Number(epoch), last, replicationId, promoted: promoted === 1 };
};
