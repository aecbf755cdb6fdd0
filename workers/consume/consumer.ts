import { createInbox, type JetStreamManager, type Msg, type NatsConnection, type Subscription } from "nats";
import { Wakeup } from "#program/wakeup";
import type { Clock } from "#protocol/ports";
import { consumerHint, LOG_STREAM, logSubject } from "#protocol/subjects";
import type { Deliveries, Delivery } from "../apply/delivery.ts";
import { deliveryOf } from "./delivery.ts";

/** How long the broker keeps a request for the next record; a lost one costs at most this. */
const PULL_MS = 1_000;
/** For the broker's own answer that the request expired. */
const GRACE_MS = 500;
const DISCOVER_FIRST_MS = 50;
const DISCOVER_MOST_MS = 1_000;
/** A newer consumer beside an old one that was never deleted is noticed this late, if the hint was lost too. */
const REDISCOVER_MS = 5_000;

/** In the header of an answer that carries no record. */
const HEARTBEAT = 100;
const EXPIRED = 408;

export interface ShardConsumerOptions {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly shard: number;
  readonly clock: Clock;
  readonly fault: (error: unknown) => void;
}

/**
 * The log records of one shard, one at a time. The coordinator makes the durable pull consumer; this finds it, asks it,
 * and finds it again when it is gone. One inbox for all requests, so that a late answer is not lost to its ack_wait.
 */
export class ShardConsumer implements Deliveries {
  readonly #options: ShardConsumerOptions;
  readonly #inbox = createInbox();
  readonly #subscriptions: Subscription[];
  readonly #queue: Delivery[] = [];
  #name: string | undefined;
  /** looks and requests in a row that found no consumer */
  #failures = 0;
  #discoveredAtMs = -Infinity;
  /** when the request that is out, if one is, has to be given up */
  #pullUntilMs = -Infinity;
  readonly #wakeup: Wakeup;

  constructor(options: ShardConsumerOptions) {
    this.#options = options;
    this.#wakeup = new Wakeup(options.clock);
    const { connection, shard } = options;
    const callback = (handle: (message: Msg) => void) => ({
      callback: (error: Error | null, message: Msg): void => (error === null ? handle(message) : options.fault(error)),
    });
    this.#subscriptions = [
      connection.subscribe(
        this.#inbox,
        callback((message) => this.#arrived(message)),
      ),
      connection.subscribe(
        consumerHint(shard),
        callback(() => this.#forget()),
      ),
    ];
  }

  reconnected(): void {
    this.#forget();
  }

  async next(stop: AbortSignal): Promise<Delivery | undefined> {
    if (this.#queue.length === 0) await this.#wait(stop);
    const delivery = this.#queue.shift();
    // The next request is out before this record is acked: the broker then answers it without a round trip.
    if (delivery !== undefined && this.#name !== undefined) this.#pull();
    return delivery;
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const delivery of this.#queue.splice(0)) delivery.again(0);
  }

  async #wait(stop: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    if (this.#name === undefined && this.#failures > 0)
      await this.#wakeup.wait(Math.min(DISCOVER_FIRST_MS * 2 ** this.#failures, DISCOVER_MOST_MS), stop);
    if (this.#name === undefined || clock.monotonicMs() - this.#discoveredAtMs > REDISCOVER_MS) await this.#discover();
    if (this.#queue.length > 0 || stop.aborted) return;
    if (this.#name === undefined) this.#failures += 1;
    else await this.#wakeup.wait(Math.max(this.#pull() - clock.monotonicMs(), 1), stop);
  }

  #arrived(message: Msg): void {
    const code = message.headers?.code ?? 0;
    if (code === HEARTBEAT) return;
    this.#pullUntilMs = -Infinity;
    if (code !== 0 && code !== EXPIRED) {
      // 404, 409, 503: the consumer is gone or cannot serve
      this.#name = undefined;
      this.#failures += 1;
    } else this.#failures = 0;
    if (code === 0) {
      const delivery = deliveryOf(this.#options.connection, this.#options.shard, message);
      if (delivery !== undefined) this.#queue.push(delivery);
    }
    this.#wakeup.wake();
  }

  #forget(): void {
    this.#name = undefined;
    this.#failures = 0;
    this.#pullUntilMs = -Infinity;
    this.#wakeup.wake();
  }

  /** @returns when to look again */
  #pull(): number {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#pullUntilMs > nowMs) return this.#pullUntilMs;
    this.#pullUntilMs = nowMs + PULL_MS + GRACE_MS;
    this.#options.connection.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${LOG_STREAM}.${this.#name}`,
      JSON.stringify({ batch: 1, expires: PULL_MS * 1_000_000 }),
      { reply: this.#inbox },
    );
    return this.#pullUntilMs;
  }

  /** The newest consumer of this shard, if there is one. */
  async #discover(): Promise<void> {
    const { manager, shard, clock, fault } = this.#options;
    const before = this.#name;
    this.#discoveredAtMs = clock.monotonicMs();
    let newest: { readonly name: string; readonly created: string } | undefined;
    try {
      for await (const { name, created, config } of manager.consumers.list(LOG_STREAM))
        if (config.filter_subject === logSubject(shard) && (newest === undefined || created > newest.created)) newest = { name, created };
    } catch (error) {
      // No stream yet, or the broker is away: asked again with growing delay.
      fault(error);
      return;
    }
    this.#name = newest?.name;
    if (this.#name !== before) this.#pullUntilMs = -Infinity;
  }
}
