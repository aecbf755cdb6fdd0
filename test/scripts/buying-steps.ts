import * as fc from "fast-check";
import { archiveSale, defineSale, grant, packPurchase, reserve, settle, shardState, standing, stock, withdraw } from "#lua";
import * as model from "../simulation/redis/index.ts";
import { ask, command, epochNear, saleId } from "./shard-model.ts";
import { mostly } from "./step.ts";

const uid = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom("ann", "bob", "cid") },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }).map((n) => `u${n}`) },
);
const purchases = fc.oneof(
  { weight: 3, arbitrary: fc.array(uid, { minLength: 1, maxLength: 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: 9, max: 25 }).map((n) => Array.from({ length: n }, (_, i) => `u${i}`)) },
  {
    weight: 3,
    arbitrary: fc.array(
      fc
        .record({ uid, key: fc.constantFrom("", "", "k1", "k2"), units: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 13 })) })
        .map(packPurchase),
      { minLength: 1, maxLength: 8 },
    ),
  },
);

export const reserveStep = command(
  "reserve",
  fc.record({ saleId, purchases, outboxLimit: fc.oneof(fc.constant(1_000), fc.integer({ min: 1, max: 4 })) }),
  (state, step, request) => ask(state, step, "reserve", request, reserve, model.reserve),
);

export const standingStep = command(
  "standing",
  fc.record({ saleId, purchases: fc.array(fc.record({ uid, key: fc.constantFrom("", "", "k1", "k2") }), { minLength: 1, maxLength: 5 }) }),
  (state, step, request) => ask(state, step, "standing", request, standing, model.standing),
);

export const stockStep = command("stock", fc.record({ saleId }), (state, step, request) =>
  ask(state, step, "stock", request, stock, (shard, { saleId }) => model.stock(shard, saleId)),
);

export const stateStep = command("shard-state", fc.constant({}), (state, step, request) =>
  ask(state, step, "shard-state", request, shardState, model.shardState),
);

export const grantStep = command(
  "grant",
  fc.record({
    saleId,
    grant: fc.integer({ min: 1, max: 6 }),
    units: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(40)),
    epoch: mostly(0, -1, 1),
  }),
  (state, step, { saleId, grant: number, units, epoch }) => {
    const request = { saleId, grantId: `g${number}`, units, epoch: epochNear(state, epoch) };
    ask(state, step, "grant", request, grant, model.grant);
  },
);

/** The limit never changes but by mistake; the edges of the window lie at most 2 ms from the held clock. */
export const saleStep = command(
  "sale",
  fc.record({
    saleId,
    version: mostly(1, 0, -1),
    state: fc.constantFrom("open", "open", "open", "paused", "closed"),
    limit: fc.constantFrom(1, 2, 3, 12),
    isMistaken: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    opens: mostly(-1_000_000, 0, 1, 2),
    closes: mostly(1_000_000, 0, 1, 2),
    epoch: mostly(0, -1, 1),
  }),
  (state, step, { saleId, version, limit, isMistaken, opens, closes, epoch, ...definition }) => {
    const { data, server } = state.shard;
    const held = data.sales.get(saleId);
    const request = {
      saleId,
      ...definition,
      version: (held?.version ?? 0) + version,
      limit: held === undefined || isMistaken ? limit : held.limit,
      opensAtMs: server.nowMs() + opens,
      closesAtMs: server.nowMs() + closes,
      epoch: epochNear(state, epoch),
    };
    ask(state, step, "sale", request, defineSale, model.defineSale);
  },
);

/** Mostly of a sale that is closed, or soon closed again: `sale` steps reopen none. */
export const archiveStep = command("archive", fc.record({ saleId, epoch: mostly(0, -1, 1) }), (state, step, { saleId, epoch }) =>
  ask(state, step, "archive", { saleId, epoch: epochNear(state, epoch) }, archiveSale, model.archiveSale),
);

/** Which shard receives the units is only told on; `moves` is what the caller saw. */
export const withdrawStep = command(
  "withdraw",
  fc.record({
    saleId,
    units: fc.integer({ min: 1, max: 6 }),
    receiver: fc.integer({ min: 0, max: 9 }),
    moves: mostly(0, -1, 1),
    epoch: mostly(0, -1, 1),
  }),
  (state, step, { moves, epoch, ...drawn }) => {
    const seen = state.shard.data.sales.get(drawn.saleId)?.moves ?? 0;
    ask(state, step, "withdraw", { ...drawn, moves: seen + moves, epoch: epochNear(state, epoch) }, withdraw, model.withdraw);
  },
);

export const settleStep = command(
  "settle",
  fc.record({ behind: fc.integer({ min: -2, max: 4 }), epoch: mostly(0, -1, 1) }),
  (state, step, { behind, epoch }) => {
    const { data } = state.shard;
    const request = { epoch: epochNear(state, epoch), applied: Math.max(0, (data.last?.seq ?? 0) - behind) };
    ask(state, step, "settle", request, settle, model.settle);
  },
);
