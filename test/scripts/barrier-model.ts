import { BarrierAnswer } from "#lua";

/** Strings in the user's own Redis: stocks, and barriers by name, with what is left of their lives. */
export interface BarrierData {
  readonly stocks: Map<string, string>;
  readonly barriers: Map<string, { readonly says: "op" | "rollback"; readonly ttlS: number }>;
}

export const noBarriers = (): BarrierData => ({ stocks: new Map(), barriers: new Map() });

export interface Adjustment {
  readonly stock: string;
  readonly barrier: string;
  readonly compensated: string;
  readonly amount: number;
  readonly ttlS: number;
  readonly refusalTtlS: number;
}

const MOST_STEPS = 256;
const isWhole = (text: string): boolean => text.length <= 15 && /^(?:0|-?[1-9]\d*)$/.test(text);

/** `barrier-adjust.lua`, one step */
const adjust = (
  { stocks, barriers }: BarrierData,
  { stock, barrier, compensated, amount, ttlS, refusalTtlS }: Adjustment,
): BarrierAnswer => {
  const done = barriers.get(barrier);
  if (done !== undefined) return done.says === "rollback" ? BarrierAnswer.rollback : BarrierAnswer.duplicate;
  if (compensated !== barrier && !barriers.has(compensated)) {
    barriers.set(compensated, { says: "rollback", ttlS });
    barriers.set(barrier, { says: "op", ttlS });
    return BarrierAnswer.skipped;
  }
  const held = stocks.get(stock);
  if (held !== undefined && !isWhole(held)) return BarrierAnswer.notANumber;
  if (held === undefined || Number(held) + amount < 0) {
    if (refusalTtlS > 0) barriers.set(barrier, { says: "rollback", ttlS: refusalTtlS });
    return BarrierAnswer.failure;
  }
  barriers.set(barrier, { says: "op", ttlS });
  stocks.set(stock, String(Number(held) + amount));
  return BarrierAnswer.ok;
};

/** `barrier-adjust.lua` */
export const adjustBarriers = (data: BarrierData, steps: readonly Adjustment[]): BarrierAnswer[] => {
  if (steps.length < 1 || steps.length > MOST_STEPS) throw new Error(`ERR between 1 and ${MOST_STEPS}`);
  return steps.map((step) => adjust(data, step));
};

/** `barrier-query.lua` */
export const queryBarrier = ({ barriers }: BarrierData, barrier: string, ttlS: number): BarrierAnswer => {
  const done = barriers.get(barrier);
  if (done === undefined) barriers.set(barrier, { says: "rollback", ttlS });
  return done?.says === "op" ? BarrierAnswer.ok : BarrierAnswer.failure;
};

/** `barrier-revert.lua`. @returns whether there was a step to take back */
export const revertBarrier = (
  { stocks, barriers }: BarrierData,
  request: Pick<Adjustment, "stock" | "barrier" | "amount" | "ttlS">,
): boolean => {
  const { stock, barrier, amount, ttlS } = request;
  if (barriers.get(barrier)?.says !== "op") return false;
  const held = stocks.get(stock) ?? "0";
  if (!isWhole(held)) throw new Error("ERR the stock is not a whole number");
  barriers.set(barrier, { says: "rollback", ttlS });
  stocks.set(stock, String(Number(held) - amount));
  return true;
};
