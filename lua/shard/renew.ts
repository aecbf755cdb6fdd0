import { Status } from "../core/codes.ts";
import { shardKeys } from "../core/keys.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const renewScript = loadScript("renew", import.meta.url);

export interface RenewShard {
  readonly shard: number;
  readonly token: string;
  readonly leaseMs: number;
  /** when the permission to sell ends now, if that is later than before: ms since 1970 by the server's clock */
  readonly untilMs: number;
  readonly epoch: number;
  readonly attempt: string;
}

export interface RenewAnswer {
  /** `not_holder`: nothing was prolonged; `recovering`, `foreign`: only the lease was (on a replica not even that) */
  readonly status: typeof Status.ok | typeof Status.notHolder | typeof Status.recovering | typeof Status.foreign;
}

/** Prolongs the lease and, if it is still this epoch's, this attempt's and this server's, the permission to sell. */
export const renewShard = async (redis: ScriptRedis, request: RenewShard): Promise<RenewAnswer> => {
  const keys = shardKeys(request.shard);
  const reply = await renewScript
    .run(
      redis,
      [keys.lease, keys.open, keys.attempt, keys.epoch],
      [request.token, request.leaseMs, request.untilMs, request.epoch, request.attempt],
    )
    .catch(onReplica(Status.recovering));
  return { status: reply as RenewAnswer["status"] };
};
