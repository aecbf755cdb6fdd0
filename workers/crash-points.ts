import { noCrashPoints, type CrashPoints } from "#program/crash-points";
import type { Handlers } from "#program/requests/serve";
import { requests, type RequestName } from "#protocol/requests/contract";
import type { ApplyStore } from "./apply/apply-store.ts";
import type { Deliveries } from "./apply/delivery.ts";

/** Every statement of an apply is a step of its own; the points of `transaction` are around its commit. */
export const pointsInApply = (points: CrashPoints, store: ApplyStore): ApplyStore => {
  if (points === noCrashPoints) return store;
  const around = points("apply", store);
  return { transaction: (shard, work) => around.transaction(shard, (row, transaction) => work(row, points("apply", transaction))) };
};

/** The answers to the broker: `delivery.ack`, `delivery.working`, `delivery.again`. */
export const pointsInDeliveries = (points: CrashPoints, deliveries: Deliveries): Deliveries => {
  if (points === noCrashPoints) return deliveries;
  return {
    next: async (stop) => {
      const delivery = await deliveries.next(stop);
      return delivery === undefined ? undefined : points("delivery", delivery);
    },
    close: () => deliveries.close(),
    reconnected: () => deliveries.reconnected(),
  };
};

const PREFIX = "doorbuster.";

/** Named by their subjects: `sale.open.handle`. */
export const pointsInHandlers = (points: CrashPoints, handlers: Handlers): Handlers => {
  if (points === noCrashPoints) return handlers;
  const around = Object.entries(handlers).map(([name, handle]) => {
    const { subject } = requests[name as RequestName];
    return [name, points(subject.slice(PREFIX.length), { handle }).handle];
  });
  return Object.fromEntries(around) as Handlers;
};
