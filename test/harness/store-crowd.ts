import { expect } from "vitest";
import { until, type StackWorld, type BuyAnswer } from "./index.ts";

/** Buyers at a time: enough to keep batches full, few enough for two cores. */
const AT_ONCE = 32;

export interface Crowd {
  /** each buyer's last answer */
  readonly answers: ReadonlyMap<string, BuyAnswer>;
  /** resolves when so many have an answer */
  until(count: number): Promise<void>;
  /** resolves when everybody has an answer */
  readonly done: Promise<void>;
}

/** Buyers `b<from>` to `b<to - 1>` buy until they are told yes or no, however long a store is away. */
export const crowd = (world: StackWorld, saleId: string, from: number, to: number): Crowd => {
  const answers = new Map<string, BuyAnswer>();
  let next = from;
  const one = async (): Promise<void> => {
    for (let n = next++; n < to; n = next++) answers.set(`b${n}`, await world.buy(saleId, `b${n}`));
  };
  return {
    answers,
    until: (count) => until(() => answers.size >= count, `${count} answers`, 60_000),
    done: Promise.all(Array.from({ length: AT_ONCE }, one)).then(() => undefined),
  };
};

export const winnersOf = (answers: ReadonlyMap<string, BuyAnswer>): string[] =>
  [...answers].filter(([, { orderId }]) => orderId !== undefined).map(([uid]) => uid);

/** The order that each buyer was told of last. */
export const ordersOf = (answers: ReadonlyMap<string, BuyAnswer>): Map<string, string> =>
  new Map(winnersOf(answers).map((uid) => [uid, answers.get(uid)?.orderId as string]));

/** Resolves when the standing of all these buyers is `confirmed`; @returns each one's order id. */
export const confirmedOrders = async (world: StackWorld, saleId: string, uids: readonly string[]): Promise<Map<string, string>> => {
  const orders = new Map<string, string>();
  for (const uid of uids) {
    const { code, orderId } = await world.final(saleId, uid);
    expect(code, uid).toBe("confirmed");
    orders.set(uid, orderId as string);
  }
  return orders;
};

/** Nobody of `before` has lost the order that was confirmed (P1, P3). */
export const expectStillTheirs = async (world: StackWorld, saleId: string, before: ReadonlyMap<string, string>): Promise<void> => {
  for (const [uid, orderId] of before) expect(await world.final(saleId, uid), uid).toMatchObject({ code: "confirmed", orderId });
};

/** All units are sold, each to one buyer, and the books balance (P2, P4). */
export const expectSoldOut = async (world: StackWorld, saleId: string, units: number): Promise<void> => {
  expect(await world.auditAtRest(saleId)).toMatchObject({ free: 0, sold: units, rejected: 0, duplicates: 0, orphans: 0 });
};

/**
 * Whoever was told of an order is told of the same one still, or why he has it no more; never that there is nothing, nor of another
 * that he did not buy. Who had been told `confirmed` has it.
 */
export const expectReasons = async (world: StackWorld, saleId: string, answers: ReadonlyMap<string, BuyAnswer>): Promise<void> => {
  for (const uid of winnersOf(answers)) {
    const { code, orderId } = answers.get(uid) as BuyAnswer;
    const url = `${world.urlOf(saleId, uid)}?order=${orderId}`;
    let standing: BuyAnswer = { status: 0, code: "away" };
    await until(
      async () => {
        standing = await world.once("GET", url);
        return standing.orderId !== undefined || standing.code === "none" || standing.code === "not_survived";
      },
      `${uid} to be told what became of the order`,
      60_000,
    );
    const words = `${uid} was told ${code} ${orderId}`;
    if (code === "confirmed" || standing.orderId !== undefined) {
      expect(standing, words).toMatchObject({ orderId });
      expect(["reserved", "confirmed"], words).toContain(standing.code);
    } else expect(standing, words).toMatchObject({ status: 409, code: "not_survived" });
  }
};

/**
 * After a store lost something: everybody asks once more, as people do whose reservation is not there any more. Who was
 * confirmed before has the same order; everybody has a definite answer; the sale is sold out exactly.
 */
export const expectKept = async (
  world: StackWorld,
  saleId: string,
  sale: { readonly units: number; readonly buyers: number; readonly before: ReadonlyMap<string, string> },
): Promise<void> => {
  const again = crowd(world, saleId, 0, sale.buyers);
  await again.done;
  expect(winnersOf(again.answers)).toHaveLength(sale.units);
  const losers = [...again.answers.values()].filter(({ orderId }) => orderId === undefined);
  expect(new Set(losers.map(({ code }) => code))).toEqual(new Set(["sold_out"]));
  const orders = await confirmedOrders(world, saleId, winnersOf(again.answers));
  for (const [uid, orderId] of sale.before) expect(orders.get(uid), uid).toBe(orderId);
  await expectSoldOut(world, saleId, sale.units);
};
