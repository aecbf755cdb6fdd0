import * as fc from "fast-check";
import { barrierAdjustScript, barrierKey, queryBarrier, revertBarrier } from "#lua";
import * as model from "./barrier-model.ts";
import { stringText, type KeySpace, type Stored } from "./key-space.ts";
import { tellFull } from "./lockstep.ts";
import { asker, mostly, sequences, steps, type Question } from "./step.ts";
import type { Lockstep } from "./lockstep.ts";

const TAKES_MEMORY = new Set(["barrier-adjust", "barrier-query", "barrier-revert"]);

export interface BarrierModel {
  readonly data: model.BarrierData;
}

export const barrierModel = (): BarrierModel => ({ data: model.noBarriers() });

export const barrierSpace = ({ data }: BarrierModel): KeySpace => {
  const space = new Map<string, Stored>();
  for (const [key, value] of data.stocks) space.set(key, { text: stringText(value) });
  for (const [key, { says, ttlS }] of data.barriers) space.set(key, { text: stringText(says), expiresInMs: ttlS * 1_000 });
  return space;
};

const ask = (lockstep: Lockstep, question: Question): void => asker(TAKES_MEMORY, () => true)(lockstep, question);

const stock = mostly("stock", "other");
const gid = fc.constantFrom("g1", "g2", "g3", "g4");
const ttlS = fc.constantFrom(600, 1_800, 3_600);
const action = (gid: string): string => barrierKey(gid, "01", "action", "01");

const adjustStep = steps<
  BarrierModel,
  { gid: string; stock: string; amount: number; ttlS: number; refusalTtlS: number; undoes: boolean }[]
>(
  "adjust",
  fc.array(
    fc.record({
      gid,
      stock,
      amount: fc.oneof(fc.constantFrom(-1, -1, 1), fc.integer({ min: -4, max: 3 })),
      ttlS,
      refusalTtlS: fc.constantFrom(0, 900, 2_700),
      undoes: mostly(false, true),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  ({ data }, lockstep, drawn) => {
    const adjustments = drawn.map(({ gid, undoes, ...rest }): model.Adjustment => {
      const barrier = undoes ? barrierKey(gid, "01", "compensate", "01") : action(gid);
      return { barrier, compensated: undoes ? action(gid) : barrier, ...rest };
    });
    ask(lockstep, {
      script: "barrier-adjust",
      request: adjustments,
      // the binding joins what a turn of the event loop brings (batches.test.ts); here a call is a step
      send: (redis) =>
        barrierAdjustScript.run(
          redis,
          adjustments.flatMap(({ stock, barrier, compensated }) => [stock, barrier, compensated]),
          adjustments.flatMap(({ amount, ttlS, refusalTtlS }) => [amount, ttlS, refusalTtlS]),
        ),
      answer: () => model.adjustBarriers(data, adjustments),
    });
  },
);

const queryStep = steps<BarrierModel, [string, number]>("query", fc.tuple(gid, ttlS), ({ data }, lockstep, [gid, ttlS]) =>
  ask(lockstep, {
    script: "barrier-query",
    request: gid,
    send: (redis) => queryBarrier(redis, { barrier: action(gid), ttlS }),
    answer: () => model.queryBarrier(data, action(gid), ttlS),
  }),
);

const revertStep = steps<BarrierModel, { gid: string; stock: string; amount: number; ttlS: number }>(
  "revert",
  fc.record({ gid, stock, amount: fc.integer({ min: -4, max: 3 }), ttlS }),
  ({ data }, lockstep, { gid, stock, amount, ttlS }) => {
    const request = { stock, stockKey: stock, barrier: action(gid), amount, ttlS };
    ask(lockstep, {
      script: "barrier-revert",
      request,
      send: (redis) => revertBarrier(redis, request),
      answer: () => model.revertBarrier(data, request),
    });
  },
);

/** The user's own hand: a stock that is set, broken, or gone. */
const handStep = steps<BarrierModel, [string, string]>(
  "hand",
  fc.tuple(stock, fc.constantFrom("0", "1", "2", "5", "5", "", "many", "1.5", "1e3", "0x10", " 7", "99999999999999999999")),
  ({ data }, lockstep, [stock, value]) => {
    if (lockstep.isFull) return;
    if (value === "") {
      lockstep.tell("del", stock);
      data.stocks.delete(stock);
    } else {
      lockstep.tell("set", stock, value);
      data.stocks.set(stock, value);
    }
  },
);

const expireStep = steps<BarrierModel, string>("expire", gid, ({ data }, lockstep, gid) => {
  lockstep.tell("del", action(gid));
  data.barriers.delete(action(gid));
});

const fullStep = steps<BarrierModel, boolean>("full", mostly(false, true), (_, lockstep, isFull) => tellFull(lockstep, isFull));

export const barrierCommands = (maxCommands: number): ReturnType<typeof sequences<BarrierModel>> =>
  sequences<BarrierModel>(
    [
      [8, adjustStep],
      [3, queryStep],
      [3, revertStep],
      [4, handStep],
      [1, expireStep],
      [1, fullStep],
    ],
    maxCommands,
  );
