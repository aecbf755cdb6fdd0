import { appliedIds, recordIds, type Tracing } from "#program/tracing/tracing";
import type { ApplyObserver } from "./apply/delivery.ts";

/**
 * Adds a span for each log record that brought a sampled order into Postgres: under the coordinator's span of that record, by
 * the position at which it ends, and linked with the purchases' spans. Only who traces has it in between.
 */
export const tracedApply = (observer: ApplyObserver, tracing: Tracing): ApplyObserver => ({
  ...observer,
  done: (delivery, applied, durationMs) => {
    observer.done(delivery, applied, durationMs);
    if (applied.kind !== "applied") return;
    const { shard, streamSeq } = delivery;
    const { epoch, applied: lastSeq } = applied;
    const orders = tracing.sampledOrders(shard, epoch, applied.entries);
    if (orders.length === 0) return;
    const endMs = tracing.nowMs();
    tracing.send({
      name: "apply to Postgres",
      ids: appliedIds(shard, epoch, lastSeq),
      parent: recordIds(shard, epoch, lastSeq),
      orders,
      startMs: endMs - durationMs,
      endMs,
      attributes: {
        "doorbuster.shard": shard,
        "doorbuster.epoch": epoch,
        "doorbuster.seq": lastSeq,
        "doorbuster.stream_seq": streamSeq,
        "doorbuster.orders": applied.orders,
      },
    });
  },
});
