import * as fc from "fast-check";
import type { ScriptRedis } from "#lua";
import * as model from "../simulation/redis/index.ts";
import type { Lockstep } from "./lockstep.ts";
import { asker, mostly, steps, type Act, type Steps } from "./step.ts";

export const SHARD = 3;
/** Before the held clock's first tick. Far from any real time, so that nothing expires by itself. */
export const START_MS = 4_000_000_000_000;
export const SALES = ["a", "b"] as const;
/** Of scripts that take memory: without `allow-oom` they are refused by a full server. */
const TAKES_MEMORY: ReadonlySet<string> = new Set(["reserve", "grant"]);
const REFUSED = { reserve: { status: "refused", by: "OOM" } };

/** A model of a shard on a server, and what its coordinators did so far, right or wrong. */
export interface ShardModel {
  readonly shard: model.Shard;
  readonly server: { replicationId: string; isPrimary: boolean; hasReplicas: boolean; clockMs: number };
  /** replication ids that this server had before */
  readonly formerIds: string[];
  attempts: number;
}

export const shardModel = (identity: { replicationId: string; isPrimary: boolean; hasReplicas: boolean }): ShardModel => {
  const server = { ...identity, clockMs: START_MS, nowMs: () => server.clockMs };
  return {
    shard: { data: model.emptyShard(), journal: new model.Journal(), server, rules: model.REDIS_RULES },
    server,
    formerIds: ["0000000000000000000000000000000000000000"],
    attempts: 0,
  };
};

/** Steps of one kind on a shard. */
export const command = <P>(name: string, params: fc.Arbitrary<P>, act: Act<ShardModel, P>): Steps<ShardModel> => steps(name, params, act);

/** Asks a script's binding and its model for the same. */
export const ask = <Request extends object>(
  { shard }: ShardModel,
  step: Lockstep,
  script: string,
  request: Request,
  send: (redis: ScriptRedis, request: Request & { readonly shard: number }) => Promise<unknown>,
  answer: (shard: model.Shard, request: Request) => unknown,
): void =>
  asker(
    TAKES_MEMORY,
    () => shard.server.isPrimary,
    REFUSED,
  )(step, {
    script,
    request,
    send: (redis) => send(redis, { ...request, shard: SHARD }),
    answer: () => answer(shard, request),
  });

/** An epoch near the shard's; none is ever 0. */
export const epochNear = ({ shard }: ShardModel, off: number): number => (shard.data.epoch + off < 1 ? 99 : shard.data.epoch + off);

export const attemptOf = ({ shard, attempts }: ShardModel, isMine: boolean): string =>
  isMine && shard.data.attempt !== "" ? shard.data.attempt : `n${attempts - 1}`;

export const replicationOf = ({ server, formerIds }: ShardModel, isMine: boolean): string =>
  isMine ? server.replicationId : (formerIds.at(-1) as string);

export const saleId = fc.constantFrom(...SALES, "a", "a");
export const token = mostly("mine", "theirs");
/** Durations that the comparison of key spaces tells apart. */
export const leaseMs = fc.constantFrom(600_000, 1_800_000, 3_600_000);
