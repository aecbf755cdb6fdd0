import { noCrashPoints, type CrashPoints } from "#program/crash-points";
import type { ApplyStore } from "./apply/apply-store.ts";
import type { ShardConsumer } from "./consume/consumer.ts";
import type { Handler } from "./requests/server.ts";

/** Every statement of an apply is a step of its own; the points of `transaction` are around its commit. */
export const pointsInApply = (points: CrashPoints, store: ApplyStore): ApplyStore => {
  if (points === noCrashPoints) return store;
  const around = points("apply", store);
  return { transaction: (shard, work) => around.transaction(shard, (row, transaction) => work(row, points("apply", transaction))) };
};

/** The answers to the broker: `delivery.ack`, `delivery.working`, `delivery.again`. */
export const pointsInConsumer = (points: CrashPoints, consumer: ShardConsumer): Pick<ShardConsumer, "next" | "close"> => {
  if (points === noCrashPoints) return consumer;
  return {
    next: async (stop) => {
      const delivery = await consumer.next(stop);
      return delivery === undefined ? undefined : points("delivery", delivery);
    },
    close: () => consumer.close(),
  };
};

const PREFIX = "doorbuster.";

/** Named by their subjects: `sale.open.handle`. */
export const pointsInHandlers = <T extends Readonly<Record<string, Handler>>>(points: CrashPoints, handlers: T): T => {
  if (points === noCrashPoints) return handlers;
  return Object.fromEntries(
    Object.entries(handlers).map(([subject, handler]) => [subject, points(subject.slice(PREFIX.length), handler)]),
  ) as T;
};
