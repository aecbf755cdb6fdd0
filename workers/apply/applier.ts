import type { StatusEvent } from "#protocol/status";
import type { SweepShards } from "../sales/sweep-ports.ts";
import { applyDelivery, type Deliveries, type DeliveryPorts } from "./delivery.ts";

export interface SettlerOptions {
  readonly settle: SweepShards["settle"];
  readonly shard: number;
  readonly fault: (error: unknown) => void;
}

/**
 * Tells a shard's Redis how far Postgres is, beside the applier, so that a Redis that hangs does not stop the applying.
 * Only the newest position counts; one that is lost is made up for by the next or by the sweep.
 */
export class Settler {
  readonly #options: SettlerOptions;
  #wanted: { readonly epoch: number; readonly applied: number } | undefined;
  #running: Promise<void> | undefined;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  settle(position: { readonly epoch: number; readonly applied: number }): void {
    this.#wanted = position;
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { settle, shard, fault } = this.#options;
    while (this.#wanted !== undefined) {
      const position = this.#wanted;
      this.#wanted = undefined;
      await settle({ shard, ...position }).catch(fault);
    }
    this.#running = undefined;
  }
}

export interface ApplierOptions {
  readonly deliveries: Deliveries;
  readonly delivery: DeliveryPorts;
  readonly settler: Settler;
  readonly publish: (status: StatusEvent) => void;
  /** called when a record sent units to another shard */
  readonly onMoved: () => void;
}

/** Applies one shard's records, one after the other, until stopped. */
export const runApplier = async (options: ApplierOptions, stop: AbortSignal): Promise<void> => {
  const { deliveries, settler } = options;
  // First of all: a record that is given back must not come to our own request, where it would wait for its ack_wait.
  // nats-server 2.9.10 lets it wait all the same if nobody else's request is out; then it comes 10 s later.
  stop.addEventListener("abort", () => deliveries.close(), { once: true });
  while (!stop.aborted) {
    const delivery = await deliveries.next(stop);
    if (delivery === undefined) continue;
    const aftermath = await applyDelivery(options.delivery, delivery, stop);
    if (aftermath === undefined) continue;
    if (aftermath.moved) options.onMoved();
    if (aftermath.settle !== undefined) settler.settle(aftermath.settle);
    options.publish(aftermath.status);
  }
  await settler.idle();
};
