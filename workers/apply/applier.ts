import type { NatsConnection } from "nats";
import { publish } from "#program/requests/publish";
import { publications } from "#protocol/requests/publications";
import { applyDelivery, type DeliveryPorts } from "./delivery.ts";
import type { SweepShards } from "../sales/sweep-ports.ts";
import type { ShardConsumer } from "../consume/consumer.ts";

export interface SettlerOptions {
  readonly shards: Pick<SweepShards, "settle">;
  readonly shard: number;
  readonly fault: (error: unknown) => void;
}

/**
 * Tells a shard's Redis how far Postgres is, beside the applier, so that a Redis that hangs does not stop the applying.
 * Only the newest position counts; one that is lost is made up for by the next or by the sweep.
 */
export class Settler {
  private readonly options: SettlerOptions;
  private wanted: { readonly epoch: number; readonly applied: number } | undefined;
  private running: Promise<void> | undefined;

  constructor(options: SettlerOptions) {
    this.options = options;
  }

  settle(position: { readonly epoch: number; readonly applied: number }): void {
    this.wanted = position;
    this.running ??= this.run();
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    const { shards, shard, fault } = this.options;
    while (this.wanted !== undefined) {
      const position = this.wanted;
      this.wanted = undefined;
      await shards.settle({ shard, ...position }).catch(fault);
    }
    this.running = undefined;
  }
}

export interface ApplierOptions {
  readonly shard: number;
  readonly connection: NatsConnection;
  readonly consumer: Pick<ShardConsumer, "next" | "close">;
  readonly settler: Settler;
  readonly delivery: DeliveryPorts;
  /** called when a record sent units to another shard */
  readonly onMoved?: () => void;
}

/** Applies one shard's records, one after the other, until stopped. */
export const runApplier = async (options: ApplierOptions, stop: AbortSignal): Promise<void> => {
  const { shard, connection, consumer, settler } = options;
  // First of all: a record that is given back must not come to our own request, where it would wait for its ack_wait.
  // nats-server 2.9.10 lets it wait all the same if nobody else's request is out; then it comes 10 s later.
  stop.addEventListener("abort", () => consumer.close(), { once: true });
  while (!stop.aborted) {
    const delivery = await consumer.next(stop);
    if (delivery === undefined) continue;
    const aftermath = await applyDelivery(options.delivery, delivery, stop);
    if (aftermath === undefined) continue;
    if (aftermath.moved) options.onMoved?.();
    if (aftermath.settle !== undefined) settler.settle(aftermath.settle);
    publish(connection, publications.status, shard, aftermath.status);
  }
  await settler.idle();
};
