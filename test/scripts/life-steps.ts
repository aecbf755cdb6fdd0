import * as fc from "fast-check";
import { acquireLease, closeShard, formatPosition, keepShard, openShard, releaseLease, renewShard } from "#lua";
import * as model from "../simulation/redis/index.ts";
import type { Lockstep } from "./lockstep.ts";
import { ask, attemptOf, command, epochNear, leaseMs, replicationOf, saleId, token, type ShardModel } from "./shard-model.ts";
import { mostly } from "./step.ts";

/** Of a permission that comes late, too. */
const openMs = mostly(600_000, 1_800_000, 0, -1_000);

export const leaseStep = command("lease", fc.record({ token, leaseMs }), (state, step, request) =>
  ask(state, step, "lease", request, acquireLease, (shard, { token, leaseMs }) => model.acquireLease(shard, token, leaseMs)),
);

export const releaseStep = command("release", fc.record({ token }), (state, step, request) =>
  ask(state, step, "release", request, releaseLease, (shard, { token }) => model.releaseLease(shard, token)),
);

export const renewStep = command(
  "renew",
  fc.record({ token, leaseMs, openMs, epoch: mostly(0, -1, 1), isMine: mostly(true, false) }),
  (state, step, { epoch, isMine, openMs, ...rest }) => {
    const request = { ...rest, untilMs: state.server.clockMs + openMs, epoch: epochNear(state, epoch), attempt: attemptOf(state, isMine) };
    ask(state, step, "renew", request, renewShard, model.renew);
  },
);

export const close = (state: ShardModel, step: Lockstep, token: string): void => {
  state.attempts += 1;
  const request = { token, attempt: `n${state.attempts}` };
  ask(state, step, "close", request, closeShard, model.closeShard);
};
export const closeStep = command("close", token, close);

export const keep = (
  state: ShardModel,
  step: Lockstep,
  draw: { isMine: boolean; isHere: boolean; from: number; upto: number; to: number; archived: readonly string[] },
): void => {
  const { data } = state.shard;
  const { epoch, seq } = data.last ?? { epoch: 0, seq: 0 };
  const fromEpoch = epochNear(state, draw.from);
  const request = {
    attempt: attemptOf(state, draw.isMine),
    replicationId: replicationOf(state, draw.isHere),
    fromEpoch,
    upto: formatPosition({ epoch, seq: Math.max(0, seq + draw.upto) }),
    toEpoch: fromEpoch + draw.to,
    archived: draw.archived,
  };
  ask(state, step, "keep", request, keepShard, (shard, request) => {
    // the script refuses an epoch that does not rise before it looks at anything
    if (shard.server.isPrimary && request.toEpoch <= request.fromEpoch)
      throw new Error("ERR keep: an epoch must be followed by a higher one");
    return model.keepShard(shard, request);
  });
};
export const keepStep = command(
  "keep",
  fc.record({
    isMine: mostly(true, false),
    isHere: mostly(true, false),
    from: mostly(0, -1, 1),
    upto: mostly(0, -1, 1),
    to: mostly(1, 0, 2),
    archived: fc.uniqueArray(saleId, { maxLength: 2 }),
  }),
  keep,
);

export const open = (
  state: ShardModel,
  step: Lockstep,
  draw: { token: string; isMine: boolean; isHere: boolean; epoch: number; openMs: number },
): void => {
  const request = {
    token: draw.token,
    attempt: attemptOf(state, draw.isMine),
    replicationId: replicationOf(state, draw.isHere),
    epoch: epochNear(state, draw.epoch),
    untilMs: state.server.clockMs + draw.openMs,
  };
  ask(state, step, "open", request, openShard, model.openShard);
};
export const openStep = command(
  "open",
  fc.record({ token, isMine: mostly(true, false), isHere: mostly(true, false), epoch: mostly(0, -1, 1), openMs }),
  open,
);
