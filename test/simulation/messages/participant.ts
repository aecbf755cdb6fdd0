import type { ScriptRedis } from "#lua/core/script";
import { barrierAdjustScript, BarrierAnswer } from "#lua/barrier/barrier-adjust";
import { barrierQueryScript } from "#lua/barrier/barrier-query";
import { barrierRevertScript } from "#lua/barrier/barrier-revert";
import { op, Scene, type Target, type Wire } from "../kernel/wire.ts";
import type { MessageRules } from "./rules.ts";

const ADJUST = op("barrier adjust", Scene.messages);
const QUERY = op("barrier query", Scene.messages);
const REVERT = op("barrier revert", Scene.messages);

/** A user's own Redis: one stock and the barriers, as `barrier-*.lua` keep them. */
export class Participant implements Target {
  readonly name = "participant";
  run = 1;
  isUp = true;
  stock: number;
  readonly barriers = new Map<string, string>();
  readonly #rules: MessageRules;

  constructor(stock: number, rules: MessageRules) {
    this.stock = stock;
    this.#rules = rules;
  }

  /** whether the local step of a message happened */
  happened(gid: string): boolean {
    return this.barriers.get(`${gid}-00-msg-01`) === "op";
  }

  adjust(barrier: string, amount: number, isFinal: boolean): BarrierAnswer {
    const { barrierFirst, failureBars } = this.#rules;
    const done = this.barriers.get(barrier);
    const isTooLow = this.stock + amount < 0;
    if (!barrierFirst && isTooLow) return BarrierAnswer.failure;
    if (done === "rollback") return BarrierAnswer.rollback;
    if (done !== undefined) return BarrierAnswer.duplicate;
    if (isTooLow) {
      if (isFinal && failureBars) this.barriers.set(barrier, "rollback");
      return BarrierAnswer.failure;
    }
    this.barriers.set(barrier, "op");
    this.stock += amount;
    return BarrierAnswer.ok;
  }

  query(barrier: string): BarrierAnswer {
    const done = this.barriers.get(barrier);
    if (done === undefined && this.#rules.queryBars) this.barriers.set(barrier, "rollback");
    return done === "op" ? BarrierAnswer.ok : BarrierAnswer.failure;
  }

  revert(barrier: string, amount: number): BarrierAnswer {
    if (this.barriers.get(barrier) !== "op") return BarrierAnswer.duplicate;
    this.barriers.set(barrier, "rollback");
    this.stock -= amount;
    return BarrierAnswer.ok;
  }

  /** A connection on which the shipping bindings run their scripts. */
  connection(wire: Wire): ScriptRedis {
    const evalsha = (sha: string, keyCount: number, ...rest: (string | number)[]): Promise<unknown> => {
      const barrier = String(rest[1]);
      const amount = Number(rest[keyCount]);
      switch (sha) {
        case barrierAdjustScript.sha:
          return wire.call(ADJUST, () => [this.adjust(barrier, amount, Number(rest[keyCount + 2]) > 0)]);
        case barrierQueryScript.sha:
          return wire.call(QUERY, () => this.query(String(rest[0])));
        case barrierRevertScript.sha:
          return wire.call(REVERT, () => this.revert(barrier, amount));
        default:
          throw new Error(`no such script: ${sha}`);
      }
    };
    // as in a cluster: each step travels alone, and no timer of the real event loop gathers them
    return { evalsha, script: async () => "OK", isCluster: true } as unknown as ScriptRedis;
  }
}
