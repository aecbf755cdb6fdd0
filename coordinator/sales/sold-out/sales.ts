import type { NatsConnection } from "nats";
import { followBucket } from "#program/kv-follower";
import type { Clock } from "#protocol/ports";
import { readSaleRecord } from "#protocol/read-sale";
import type { SaleRecord } from "#protocol/sale";
import { SALES_BUCKET } from "#protocol/subjects";

/** The sales as the bucket has them (DESIGN 7.5); kept while the broker is away. */
export class SalesView {
  readonly #sales = new Map<string, SaleRecord>();
  readonly #connection: NatsConnection;
  readonly #clock: Clock;
  readonly #fault: (error: unknown) => void;

  constructor(connection: NatsConnection, clock: Clock, fault: (error: unknown) => void) {
    this.#connection = connection;
    this.#clock = clock;
    this.#fault = fault;
  }

  all(): Iterable<SaleRecord> {
    return this.#sales.values();
  }

  get(saleId: string): SaleRecord | undefined {
    return this.#sales.get(saleId);
  }

  /** Follows the bucket until stopped. The workers make it: until it is there it is looked for again. */
  run(stop: AbortSignal): Promise<void> {
    return followBucket({
      nats: this.#connection,
      bucket: SALES_BUCKET,
      clock: this.#clock,
      stop,
      put: (key, value, revision) => {
        const sale = readSaleRecord(key, value);
        if (typeof sale === "string") throw new Error(`the record of sale ${key}, revision ${revision}, is passed over: ${sale}`);
        this.#sales.set(key, sale);
      },
      remove: (key) => this.#sales.delete(key),
      fault: this.#fault,
    });
  }
}
