import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const closeScript = loadScript("close", import.meta.url);

export interface CloseShard {
  readonly shard: number;
  /** the caller's lease */
  readonly token: string;
  /** fresh nonce of the attempt */
  readonly attempt: string;
}

/** A server that an attempt has closed. */
export interface ClosedServer {
  readonly replicationId: string;
  /** replicas may have the keys that it had then, or later while it has that id */
  readonly hasReplicas: boolean;
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
      /** the attempt that was this Redis's last so far; empty if none */
      readonly before: string;
      /** the server that it had closed: maybe this, maybe one that this is a restart or a copy of */
      readonly beforeOn: ClosedServer | undefined;
    }
  | { readonly status: typeof Status.notHolder | typeof Status.notPrimary };

const SERVER = /^([0-9a-f]+) ([01])$/;

/** Step 0 of an attempt (DESIGN 7.1): nothing is appended from here until `openShard`. */
export const closeShard = async (redis: ScriptRedis, { shard, token, attempt }: CloseShard): Promise<ShardClosed> => {
  const keys = shardKeys(shard);
  const reply = await closeScript
    .run(redis, [keys.lease, keys.open, keys.attempt, keys.epoch, keys.outbox, keys.server], [token, attempt])
    .catch(onReplica(Status.notPrimary));
  if (!Array.isArray(reply)) return { status: reply as typeof Status.notHolder | typeof Status.notPrimary };
  const [epoch, last, replicationId, before, on] = reply as [string, string, string, string, string];
  const [, beforeId, hasReplicas] = SERVER.exec(on) ?? [];
  const beforeOn = beforeId === undefined ? undefined : { replicationId: beforeId, hasReplicas: hasReplicas === "1" };
  return { status: Status.ok, epoch: Number(epoch), last, replicationId, before, beforeOn };
};
