import * as fc from "fast-check";
import { acquireLease, defineSale, grant, shardKeys } from "#lua";
import * as model from "../simulation/redis/index.ts";
import {
  archiveStep,
  grantStep,
  reserveStep,
  saleStep,
  settleStep,
  standingStep,
  stateStep,
  stockStep,
  withdrawStep,
} from "./buying-steps.ts";
import { close, closeStep, keep, keepStep, leaseStep, open, openStep, releaseStep, renewStep } from "./life-steps.ts";
import { readIdentity, tellClock, tellFull, type Lockstep } from "./lockstep.ts";
import { stage, stageStep, staged, swap, swapStep } from "./rebuild-steps.ts";
import { ask, command, SALES, SHARD, START_MS, type ShardModel } from "./shard-model.ts";
import { sequences } from "./step.ts";

const RIGHT = { token: "mine", isMine: true, isHere: true, epoch: 0, openMs: 600_000 };

/** Everything that an attempt does, and then the stock of a first sale: what makes the other steps meet an open shard. */
const beginStep = command("begin", fc.record({ isKept: fc.boolean(), drawn: staged }), (state, step, { isKept, drawn }) => {
  close(state, step, "mine");
  if (isKept && state.shard.data.epoch > 0) keep(state, step, { isMine: true, isHere: true, from: 0, upto: 0, to: 1, archived: [] });
  else {
    stage(state, step, { ...drawn, isLacking: false });
    swap(state, step, { isMine: true, isHere: true, to: 1, off: 0, forgets: false });
  }
  open(state, step, RIGHT);
});

/** Keys that expire or are lost; a sale's are lost one by one only in invariants.test.ts, where no model follows. */
const loseStep = command("lose", fc.constantFrom("open", "open", "lease", "attempt", "epoch", "outbox", "applied"), (state, step, key) => {
  const { data, journal } = state.shard;
  if (!state.server.isPrimary) return;
  step.tell("del", shardKeys(SHARD)[key]);
  if (key === "outbox") {
    journal.set(data, "outbox", []);
    journal.set(data, "last", undefined);
  } else if (key === "applied") journal.set(data, "applied", model.NO_POSITION);
  else if (key === "epoch") journal.set(data, "epoch", 0);
  else if (key === "attempt") journal.set(data, "attempt", "");
  else journal.set(data, key, undefined);
});

const tickStep = command("tick", fc.constantFrom(1, 1, 2, -1, 1_000, -1_000), (state, step, ms) => {
  if (!state.server.isPrimary) return;
  state.server.clockMs += ms;
  tellClock(step, state.server.clockMs);
});

const fullStep = command("full", fc.boolean(), (_, step, isFull) => tellFull(step, isFull));

/** A restart as the latch sees it, or a demotion and promotion. */
const serverStep = command("server", fc.constantFrom("restart", "restart", "demote", "promote"), async (state, step, what) => {
  if (what === "promote" && state.server.isPrimary) return;
  if (what === "restart" && !state.server.isPrimary) return;
  if (what === "demote" && !state.server.isPrimary) return;
  if (what === "restart") step.tell("debug", "change-repl-id");
  else if (what === "demote") step.tell("replicaof", "127.0.0.1", 1);
  else step.tell("replicaof", "no", "one");
  await step.flush();
  state.formerIds.push(state.server.replicationId);
  Object.assign(state.server, await readIdentity(step.redis));
});

/** Takes and opens a shard with a stocked sale of each limit. */
export const beginSequence = (state: ShardModel, step: Lockstep, limits: readonly [number, number]): void => {
  const lease = { token: "mine", leaseMs: 3_600_000 };
  ask(state, step, "lease", lease, acquireLease, (shard, { token, leaseMs }) => model.acquireLease(shard, token, leaseMs));
  close(state, step, "mine");
  swap(state, step, { isMine: true, isHere: true, to: 1, off: 0, forgets: false });
  open(state, step, RIGHT);
  for (const [i, saleId] of SALES.entries()) {
    const sale = {
      saleId,
      version: 1,
      state: "open",
      limit: limits[i] as number,
      opensAtMs: START_MS - 1_000_000,
      closesAtMs: START_MS + 1_000_000,
      epoch: 1,
    } as const;
    ask(state, step, "sale", sale, defineSale, model.defineSale);
  }
  const opening = { saleId: "a", grantId: "g1", units: 4, epoch: 1 };
  ask(state, step, "grant", opening, grant, model.grant);
};

export const limits = fc.tuple(fc.constantFrom(1, 1, 3), fc.constantFrom(1, 2, 12));

/** Sequences of steps on one shard. */
export const shardCommands = (maxCommands: number): ReturnType<typeof sequences<ShardModel>> =>
  sequences<ShardModel>(
    [
      [14, reserveStep],
      [4, standingStep],
      [3, stockStep],
      [2, stateStep],
      [6, grantStep],
      [4, withdrawStep],
      [4, saleStep],
      [3, archiveStep],
      [6, settleStep],
      [2, leaseStep],
      [1, releaseStep],
      [2, renewStep],
      [2, closeStep],
      [2, keepStep],
      [2, openStep],
      [2, stageStep],
      [2, swapStep],
      [4, beginStep],
      [2, loseStep],
      [2, tickStep],
      [1, fullStep],
      [1, serverStep],
    ],
    maxCommands,
  );
