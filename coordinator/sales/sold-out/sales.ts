import { KvWatchInclude, type KV, type KvEntry, type NatsConnection } from "nats";
import type { Clock } from "#protocol/ports";
import { saleRecordSchema, type SaleRecord } from "#protocol/sale";
import { SALES_BUCKET } from "#protocol/subjects";

const RETRY_MS = 1_000;

/** The sales as the bucket has them (DESIGN 7.5); kept while the broker is away. */
export class SalesView {
  readonly #sales = new Map<string, SaleRecord>();
  readonly #connection: NatsConnection;
  readonly #clock: Clock;
  readonly #fault: (error: unknown) => void;
  #restart = new AbortController();

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

  /** The broker came back, perhaps with another bucket: what is watched may be gone. */
  restart(): void {
    this.#restart.abort();
  }

  /** Follows the bucket until stopped. The workers make it: until it is there it is tried again every second. */
  async run(stop: AbortSignal): Promise<void> {
    const end = (): void => this.#restart.abort();
    stop.addEventListener("abort", end);
    while (!stop.aborted) {
      this.#restart = new AbortController();
      await this.#follow(this.#restart.signal).catch(this.#fault);
      await this.#clock.sleep(RETRY_MS, stop);
    }
    stop.removeEventListener("abort", end);
  }

  async #follow(stop: AbortSignal): Promise<void> {
    const bucket: KV = await this.#connection.jetstream().views.kv(SALES_BUCKET, { bindOnly: true });
    const changes = await bucket.watch({ include: KvWatchInclude.LastValue });
    const end = (): void => changes.stop();
    stop.addEventListener("abort", end, { once: true });
    if (stop.aborted) end();
    for await (const change of changes) this.#take(change);
  }

  #take(change: KvEntry): void {
    if (change.operation !== "PUT") {
      this.#sales.delete(change.key);
      return;
    }
    const parsed = saleRecordSchema.safeParse(change.json());
    if (parsed.success) this.#sales.set(change.key, parsed.data);
    else this.#fault(parsed.error);
  }
}
