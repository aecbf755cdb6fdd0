import { Wakeup } from "#program/wakeup";
import type { Clock } from "#protocol/ports";
import type { RestoreRequest } from "#protocol/requests";
import type { StatusEvent } from "#protocol/status";
import { runApplier, Settler } from "./apply/applier.ts";
import type { ApplyStore } from "./apply/apply-store.ts";
import type { ApplyObserver, Deliveries } from "./apply/delivery.ts";
import { KnownPositions } from "./apply/known.ts";
import type { OrdersPorts } from "./orders/commands.ts";
import { expireOrders } from "./orders/expiry.ts";
import { RestoreQueue } from "./restore/queue.ts";
import type { RestoreSource, RestoreTarget } from "./restore/restore-ports.ts";
import { restoreShard, type Progress, type RestoreEnd } from "./restore/restore.ts";
import { archiveDue, type ArchivePorts, type ArchiveRound } from "./sales/archive.ts";
import type { SweepShards, SweepStore } from "./sales/sweep-ports.ts";
import { Sweep } from "./sales/sweep.ts";

/** What the applier of one shard needs. */
export interface ShardPorts {
  readonly shard: number;
  readonly deliveries: Deliveries;
  readonly store: ApplyStore;
  readonly settle: SweepShards["settle"];
}

/** Called with everything; decides nothing. */
export interface WorkerObserver {
  readonly apply: ApplyObserver;
  restored(request: RestoreRequest, end: RestoreEnd): void;
  /** sales that ended long ago: those that were archived now, and those that something keeps */
  archived(round: ArchiveRound): void;
  /** faults of one place, all of which are tried again */
  fault(where: string): (error: unknown) => void;
}

/** The outside world of a worker. */
export interface WorkerPorts {
  /** shards whose log records it applies */
  readonly shards: readonly ShardPorts[];
  readonly publish: (status: StatusEvent) => void;
  readonly sweep: { readonly store: SweepStore; readonly shards: SweepShards };
  readonly restore: { readonly source: RestoreSource; readonly targetOf: (request: RestoreRequest) => RestoreTarget };
  readonly orders: OrdersPorts;
  readonly archive: ArchivePorts;
  /** the bucket of sales that gateways watch */
  readonly bucket: { converge(): Promise<unknown> };
  readonly clock: Clock;
  readonly observer: WorkerObserver;
}

export interface WorkerPolicy {
  readonly sweepMs: number;
  readonly expiryMs: number;
  readonly bucketMs: number;
  /** between two looks for sales to archive */
  readonly archiveMs: number;
  /** from a sale's end until it is archived; 0: never by itself */
  readonly archiveAfterMs: number;
  /** how long a shard's row as it was last seen is believed without a look; below 0: never */
  readonly trustedMs: number;
}

export interface Worker {
  /** Resolves when everything has ended after `stop`. */
  run(stop: AbortSignal): Promise<void>;
  /** Rebuilds a shard's Redis from Postgres, when its turn comes. @throws faults of either store */
  restore(request: RestoreRequest, progress: Progress): Promise<RestoreEnd>;
  /** A sale was opened or changed, or units were given back: Redis and gateways hear of it now, not at the next turn. */
  changed(): void;
  /** The connection to the broker was made anew: what was asked of it before is lost, and its bucket may be gone. */
  reconnected(): void;
}

/** Runs `turn` again and again, at once when woken. */
const repeat = async (
  turn: () => Promise<unknown>,
  everyMs: number,
  wakeup: Wakeup,
  fault: (error: unknown) => void,
  stop: AbortSignal,
) => {
  while (!stop.aborted) {
    await turn().catch(fault);
    await wakeup.wait(everyMs, stop);
  }
};

/**
 * Puts a worker together: an applier for every shard, the sweep, the expiry of orders, the bucket of sales and the queue
 * of rebuilds, and who wakes whom. The only place that does: the program that ships (worker.ts), the simulation and the
 * worlds of the tests differ in their ports and their policy.
 */
export const composeWorker = (ports: WorkerPorts, policy: WorkerPolicy): Worker => {
  const { clock, observer, orders, publish } = ports;
  const sweepWakeup = new Wakeup(clock);
  const bucketWakeup = new Wakeup(clock);
  const known = new KnownPositions(clock, policy.trustedMs);
  const sweep = new Sweep({ ...ports.sweep, clock, fault: observer.fault("sweep of a shard") });
  const restores = new RestoreQueue(clock);

  const apply = ({ shard, deliveries, store, settle }: ShardPorts, stop: AbortSignal): Promise<void> => {
    const settler = new Settler({ settle, shard, fault: observer.fault(`settle of shard ${shard}`) });
    const delivery = { store, clock, observer: observer.apply, known };
    return runApplier({ deliveries, delivery, settler, publish, onMoved: () => sweepWakeup.wake() }, stop);
  };
  const expire = async (): Promise<void> => {
    if ((await expireOrders(orders)) > 0) sweepWakeup.wake();
  };

  const changed = (): void => {
    sweepWakeup.wake();
    bucketWakeup.wake();
  };
  const archive = async (): Promise<void> => {
    const round = await archiveDue(ports.archive, policy.archiveAfterMs);
    observer.archived(round);
    if (round.archived.length > 0) changed();
  };
  const archiving = (stop: AbortSignal): Promise<void> =>
    policy.archiveAfterMs === 0
      ? Promise.resolve()
      : repeat(archive, policy.archiveMs, new Wakeup(clock), observer.fault("archiving of sales"), stop);

  return {
    run: async (stop) => {
      await Promise.all([
        archiving(stop),
        ...ports.shards.map((shard) => apply(shard, stop)),
        repeat(() => sweep.round(), policy.sweepMs, sweepWakeup, observer.fault("sweep"), stop),
        repeat(expire, policy.expiryMs, new Wakeup(clock), observer.fault("expiry of orders"), stop),
        repeat(() => ports.bucket.converge(), policy.bucketMs, bucketWakeup, observer.fault("bucket of sales"), stop),
      ]);
    },
    restore: async (request, progress) => {
      const { source, targetOf } = ports.restore;
      const end = await restores.run(() => restoreShard(source, targetOf(request), clock, request, progress), progress);
      observer.restored(request, end);
      return end;
    },
    changed,
    reconnected: () => {
      for (const { deliveries } of ports.shards) deliveries.reconnected();
      bucketWakeup.wake();
    },
  };
};
