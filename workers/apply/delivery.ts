import { formatOrderId } from "#protocol/order-id";
import type { Clock } from "#protocol/ports";
import type { StatusEvent } from "#protocol/status";
import { EntryKind } from "#lua/shard/entry";
import { applyRecord, type Applied } from "./apply.ts";
import type { KnownPositions } from "./known.ts";
import type { ApplyStore, LogDelivery } from "./apply-store.ts";

/** A record as the broker handed it out, with what can be answered. Answers may get lost. */
export interface Delivery extends LogDelivery {
  ack(): void;
  /** asks for more time before it is delivered to somebody else */
  working(): void;
  /** gives it back, to be delivered again after `delayMs` */
  again(delayMs: number): void;
}

/** The records of one shard, one at a time. */
export interface Deliveries {
  /** @returns undefined if nothing came for a moment, or on `stop`: ask again */
  next(stop: AbortSignal): Promise<Delivery | undefined>;
  /** Asks for nothing more and gives back what was not handed out; `next` answers undefined from now on. */
  close(): void;
  /** The connection to the broker was made anew: requests that were out are lost. */
  reconnected(): void;
}

/** Called with everything; decides nothing. */
export interface ApplyObserver {
  done(delivery: LogDelivery, applied: Applied, durationMs: number): void;
  fault(delivery: LogDelivery, error: unknown): void;
}

export interface DeliveryPorts {
  readonly store: ApplyStore;
  readonly clock: Clock;
  readonly observer: ApplyObserver;
  readonly known: KnownPositions;
}

/** What to tell Redis and the gateways after the commit; losing it loses nothing. */
export interface Aftermath {
  /** undefined in an epoch in which a constraint was violated: Redis would call refused orders confirmed */
  readonly settle: { readonly epoch: number; readonly applied: number } | undefined;
  readonly status: StatusEvent;
  /** units are on their way to another shard now: the sweep can bring them at once */
  readonly moved: boolean;
}

const RETRY_FIRST_MS = 50;
/** Well below the consumer's ack_wait of 10 s, which each try prolongs. */
const RETRY_MOST_MS = 2_000;
/** A halted shard waits for an operator; looking every 5 s is soon enough to see that it was repaired. */
const HALTED_AGAIN_MS = 5_000;

const statusOf = (shard: number, applied: Applied & { kind: "applied" | "repeated" }): StatusEvent => {
  const { epoch } = applied;
  return {
    shard,
    epoch,
    applied: applied.applied,
    orders: applied.entries.flatMap((entry): StatusEvent["orders"] =>
      entry.kind === EntryKind.order ? [[entry.seq, entry.saleId, entry.purchases]] : [],
    ),
    rejected: applied.rejected.map(({ seq, index, reason }) => [formatOrderId({ shard, epoch, seq, index }), reason]),
  };
};

const aftermathOf = (shard: number, applied: Applied): Aftermath | undefined => {
  if (applied.kind !== "applied" && applied.kind !== "repeated") return undefined;
  return {
    settle: applied.wall ? undefined : { epoch: applied.epoch, applied: applied.applied },
    status: statusOf(shard, applied),
    moved: applied.entries.some((entry) => entry.kind === EntryKind.withdrawn),
  };
};

/**
 * Applies a delivered record and answers the broker: ack after the commit, whatever follows; never without one. A
 * fault of the store is repeated here with growing delay until it works or `stop` is aborted.
 */
export const applyDelivery = async (ports: DeliveryPorts, delivery: Delivery, stop: AbortSignal): Promise<Aftermath | undefined> => {
  const { store, clock, observer, known } = ports;
  for (let retryMs = RETRY_FIRST_MS; ; retryMs = Math.min(retryMs * 2, RETRY_MOST_MS)) {
    const startedMs = clock.monotonicMs();
    try {
      const applied = await applyRecord(store, delivery, known);
      if (applied.kind === "halted") delivery.again(HALTED_AGAIN_MS);
      else delivery.ack();
      observer.done(delivery, applied, clock.monotonicMs() - startedMs);
      return aftermathOf(delivery.shard, applied);
    } catch (error) {
      observer.fault(delivery, error);
    }
    if (stop.aborted) break;
    delivery.working();
    await clock.sleep(retryMs, stop);
    if (stop.aborted) break;
  }
  delivery.again(0);
  return undefined;
};
