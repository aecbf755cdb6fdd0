import * as fc from "fast-check";
import type { Redis } from "ioredis";
import { barrierCommands, barrierModel, barrierSpace } from "./barrier-steps.ts";
import type { KeySpace } from "./key-space.ts";
import { beginAgain, Lockstep, readIdentity, type Identity, type Scripts } from "./lockstep.ts";
import { messageCommands, messageModel, messageSpace } from "./message-steps.ts";
import { shardSpace } from "./shard-space.ts";
import { SHARD, shardModel, START_MS, type ShardModel } from "./shard-model.ts";
import { beginSequence, limits, shardCommands } from "./shard-steps.ts";

export interface RunOptions {
  readonly numRuns: number;
  readonly maxCommands: number;
  readonly seed?: number;
  /** fails with the first sequence that does, as it is */
  readonly endOnFailure?: boolean;
  /** default true */
  readonly comparing?: boolean;
}

/** An empty primary with its identity, which the sequence before may have changed. */
const fresh = async (redis: Redis): Promise<Identity> => {
  await beginAgain(redis, START_MS);
  return readIdentity(redis);
};

/** Runs sequences of a model beside a server that begins empty; rejects with the shrunk sequence and its seed. */
const run = async <Model extends object>(
  redis: Redis,
  scripts: Scripts,
  { maxCommands, comparing = true, ...parameters }: RunOptions,
  subject: {
    readonly model: (identity: Identity) => Model;
    readonly space: (model: Model) => KeySpace;
    readonly commands: (maxCommands: number) => fc.Arbitrary<Iterable<fc.AsyncCommand<Model, Lockstep>>>;
    readonly begin?: (model: Model, lockstep: Lockstep, limits: readonly [number, number]) => void;
  },
): Promise<number> => {
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(limits, fc.integer({ min: 0, max: 9 }), subject.commands(maxCommands), async (limits, kind, commands) => {
      const model = subject.model(await fresh(redis));
      const lockstep = new Lockstep(redis, scripts, comparing ? () => subject.space(model) : undefined);
      // one in ten meets a server on which nothing ever was
      if (kind > 0) subject.begin?.(model, lockstep, limits);
      await fc.asyncModelRun(() => ({ model, real: lockstep }), commands);
      await lockstep.flush();
      asked += lockstep.asked;
    }),
    parameters,
  );
  return asked;
};

/** @returns questions that were asked of both */
export const runShard = (redis: Redis, scripts: Scripts, options: RunOptions): Promise<number> =>
  run<ShardModel>(redis, scripts, options, {
    model: shardModel,
    space: ({ shard, server }) => shardSpace(shard.data, SHARD, server.clockMs),
    commands: shardCommands,
    begin: beginSequence,
  });

/** @returns questions that were asked of both */
export const runMessages = (redis: Redis, scripts: Scripts, options: RunOptions): Promise<number> =>
  run(redis, scripts, options, { model: messageModel, space: messageSpace, commands: messageCommands });

/** @returns questions that were asked of both */
export const runBarriers = (redis: Redis, scripts: Scripts, options: RunOptions): Promise<number> =>
  run(redis, scripts, options, { model: barrierModel, space: barrierSpace, commands: barrierCommands });
