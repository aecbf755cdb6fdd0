import type { StackWorld } from "./stack-world.ts";
import type { Crowd } from "./crowd.ts";

/** Winners who are asked about at the public door; all of them are looked up in Postgres. */
const ASKED = 40;

/** @throws Error with `what` if the work takes longer than it may after the last fault */
export const within = async <T>(ms: number, what: string, work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms / 1_000} s after the last fault`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
};

const keyOf = (uid: string, orderId: string): string => `${uid} ${orderId}`;

const compareOrders = async (world: StackWorld, crowd: Crowd, say: (violation: string) => void): Promise<number> => {
  const orders = await world.orders(crowd.saleId);
  const rows = new Set(orders.map(({ uid, orderId }) => keyOf(uid, orderId)));
  const answered = new Set<string>();
  for (const { uid, key, answer } of crowd.purchases) {
    if (answer?.orderId === undefined) continue;
    const order = keyOf(uid, answer.orderId);
    if (answered.has(order)) say(`P3: ${crowd.saleId} ${uid} ${key} was told an order that another purchase has`);
    answered.add(order);
    if (!rows.has(order)) say(`P1: ${crowd.saleId} ${uid} ${key} was told ${answer.code} ${answer.orderId}, which is not in Postgres`);
  }
  // Everybody asked until there was an answer: an order that nobody was told of is nobody's.
  for (const order of rows)
    if (!answered.has(order)) say(`P3: ${crowd.saleId} has the order ${order}, and its buyer was told something else`);
  if (rows.size !== orders.length) say(`P3: ${crowd.saleId} has an order id twice`);
  return orders.length;
};

/**
 * Everything that was promised about a sale, when the faults are over and everybody has an answer.
 * @returns orders in Postgres
 */
export const judgeSale = async (
  world: StackWorld,
  crowd: Crowd,
  units: number,
  boundMs: number,
  say: (violation: string) => void,
): Promise<number> => {
  const { saleId } = crowd;
  const rest = await within(boundMs, `P1: ${saleId} at rest`, world.auditAtRest(saleId));
  const orders = await compareOrders(world, crowd, say);
  if (rest.total !== units) say(`P4: ${saleId} has ${rest.total} units instead of ${units}`);
  if (rest.sold !== orders) say(`P4: ${saleId} counts ${rest.sold} sold, and has ${orders} orders`);
  if (rest.free + rest.sold !== units) say(`P4: ${saleId} has ${rest.free} free and ${rest.sold} sold of ${units}`);
  if (rest.sold > units) say(`P2: ${saleId} sold ${rest.sold} of ${units}`);
  if (rest.rejected > 0) say(`P1: ${saleId} has ${rest.rejected} rejected`);
  const losers = crowd.purchases.filter(({ answer }) => answer?.orderId === undefined);
  const unanswered = losers.filter(({ answer }) => answer === undefined);
  if (unanswered.length > 0) say(`P6: ${saleId}: ${unanswered.length} buyers have no answer`);
  if (rest.free > 0 && losers.some(({ answer }) => answer?.code === "sold_out"))
    say(`P5: ${saleId} told sold_out with ${rest.free} free units`);
  const winners = crowd.purchases.filter(({ answer, key }) => answer?.orderId !== undefined && key === "");
  const step = Math.max(1, Math.floor(winners.length / ASKED));
  for (let n = 0; n < winners.length; n += step) {
    const { uid, answer } = winners[n] as (typeof winners)[number];
    const final = await world.final(saleId, uid);
    if (final.code !== "confirmed" || final.orderId !== answer?.orderId)
      say(`P1: GET says ${final.code} ${final.orderId ?? ""} to ${saleId} ${uid}, who was told ${answer?.orderId}`);
  }
  return orders;
};
