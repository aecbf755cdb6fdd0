import { encodeLogRecord, type LogRecord } from "#protocol/log-record";
import type { AppendAnswer, LastEntry, LogHealth } from "../../../coordinator/shards/relay/relay-ports.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Refused, type Exchange, type Target } from "../kernel/wire.ts";

/** What the log's protocol checks; a faulty twin has one of these off. */
export interface LogRules {
  /** a consumer made before the broker's last start, or ahead of its stream, is replaced under a new name */
  readonly consumerAnew: boolean;
  /** one message at a time: the next is not handed out before the ack */
  readonly oneAtATime: boolean;
}

export const LOG_RULES: LogRules = Object.freeze({ consumerAnew: true, oneAtATime: true });

export interface Stored {
  readonly streamSeq: number;
  readonly message: LogRecord;
  readonly body: Uint8Array;
}

/** A message as a worker gets it. */
export interface HandedOut {
  readonly consumer: Consumer;
  readonly stored: Stored;
}

export interface Consumer {
  readonly name: string;
  readonly shard: number;
  readonly createdAtMs: number;
  /** run of the broker on which it was made */
  readonly brokerId: string;
  /** everything up to this sequence was handed out at least once */
  delivered: number;
  /** handed out and not acked -> when it may be handed out again */
  readonly pending: Map<number, number>;
  acked: number;
  waiting: Exchange<HandedOut | undefined>[];
  isDeleted: boolean;
}

const ACK_WAIT_MS = 10_000;
const LOOK_BACK_RECORDS = 256;

/** nats-server with one stream and a consumer a shard (DESIGN 7.2). It may lose whatever it was told. */
export class Broker implements Target {
  readonly name = "broker";
  /** its clients connect anew by themselves and send what waited: connections count as one */
  readonly run = 1;
  isUp = true;
  isFull = false;
  id = "b1";
  readonly rules: LogRules;
  readonly #kernel: Kernel;
  /** by shard, in the order of their sequences */
  readonly #stored: Stored[][];
  #consumers: Consumer[] = [];
  #lastSeq = 0;
  #runs = 1;

  constructor(kernel: Kernel, shards: number, rules: LogRules) {
    this.#kernel = kernel;
    this.rules = rules;
    this.#stored = Array.from({ length: shards }, () => []);
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  append(message: LogRecord): AppendAnswer {
    if (this.isFull) return { status: "full" };
    this.#lastSeq += 1;
    const stored = { streamSeq: this.#lastSeq, message, body: encodeLogRecord(message) };
    (this.#stored[message.shard] as Stored[]).push(stored);
    for (const consumer of this.#consumers) if (consumer.shard === message.shard) this.#feed(consumer);
    return { status: "stored", streamSeq: stored.streamSeq, bytes: stored.body.byteLength };
  }

  lastEntry(shard: number, epoch: number): LastEntry | undefined {
    const stored = this.#stored[shard] as Stored[];
    const newest = stored.at(-1)?.streamSeq ?? 0;
    for (let at = stored.length - 1; at >= 0; at -= 1) {
      const { streamSeq, message } = stored[at] as Stored;
      if (streamSeq <= newest - LOOK_BACK_RECORDS) return undefined;
      if (message.type === "entries" && message.epoch === epoch) return { streamSeq, seq: message.entries.at(-1)?.seq ?? 0 };
    }
    return undefined;
  }

  /** Its consumer forgets what it waits to be acked, wherever that is: nats-server 2.9.10 does (consumer.go, `purge`). */
  purge(shard: number, before: number): void {
    const stored = this.#stored[shard] as Stored[];
    const kept = stored.findIndex(({ streamSeq }) => streamSeq >= before);
    stored.splice(0, kept < 0 ? stored.length : kept);
    for (const consumer of this.#ofShard(shard)) consumer.pending.clear();
  }

  /** The consumer that may be trusted, if there is one. */
  sound(shard: number): Consumer | undefined {
    const own = this.#ofShard(shard);
    if (!this.rules.consumerAnew) return own[0];
    return own.find((consumer) => consumer.brokerId === this.id && consumer.delivered <= this.#lastSeq);
  }

  makeConsumer(shard: number, name: string): Consumer {
    const consumer: Consumer = {
      name,
      shard,
      createdAtMs: this.#kernel.nowMs,
      brokerId: this.id,
      delivered: 0,
      pending: new Map(),
      acked: 0,
      waiting: [],
      isDeleted: false,
    };
    this.#consumers.push(consumer);
    return consumer;
  }

  deleteOthers(kept: Consumer): void {
    for (const consumer of this.#consumers) {
      if (consumer.shard !== kept.shard || consumer === kept) continue;
      consumer.isDeleted = true;
      for (const exchange of consumer.waiting) exchange.fail(new Refused("the consumer was deleted"));
    }
    this.#consumers = this.#consumers.filter((consumer) => !consumer.isDeleted);
  }

  health(consumer: Consumer): LogHealth {
    return {
      brokerId: this.id,
      lastSeq: this.#lastSeq,
      consumer: consumer.name,
      consumedSeq: consumer.acked,
      deliveredSeq: consumer.delivered,
      awaitsAck: consumer.pending.size > 0,
    };
  }

  /** The shard's newest consumer. */
  find(shard: number): Consumer | undefined {
    return this.#ofShard(shard).at(-1);
  }

  /** A worker asks for the next message and waits for it. */
  pull(consumer: Consumer, exchange: Exchange<HandedOut | undefined>, waitMs: number): void {
    if (consumer.isDeleted) {
      exchange.fail(new Refused("no such consumer"));
      return;
    }
    consumer.waiting.push(exchange);
    this.#feed(consumer);
    if (!consumer.waiting.includes(exchange)) return;
    this.#kernel.after(waitMs, () => {
      const at = consumer.waiting.indexOf(exchange);
      if (at < 0) return;
      consumer.waiting.splice(at, 1);
      exchange.answer(undefined);
    });
  }

  ack(consumer: Consumer, streamSeq: number): void {
    if (!consumer.pending.delete(streamSeq)) return;
    consumer.acked = Math.max(consumer.acked, streamSeq);
    this.#feed(consumer);
  }

  working(consumer: Consumer, streamSeq: number): void {
    if (consumer.pending.has(streamSeq)) this.#hold(consumer, streamSeq, ACK_WAIT_MS);
  }

  again(consumer: Consumer, streamSeq: number, delayMs: number): void {
    if (consumer.pending.has(streamSeq)) this.#hold(consumer, streamSeq, delayMs);
  }

  /** kill -9. What was not on its disk is gone; clients see another server id. */
  restart(downMs: number, lost: number): void {
    this.isUp = false;
    const { draw } = this.#kernel;
    this.#lose(lost);
    for (const consumer of this.#consumers) {
      for (const exchange of consumer.waiting) exchange.fail(new Refused("the broker went away"));
      consumer.waiting = [];
      // its state is written apart from the stream: it may be ahead of what was lost, or hand out again what was acked
      if (draw.chance(0.5)) {
        consumer.delivered = Math.min(consumer.delivered, this.#lastSeq);
        for (const seq of consumer.pending.keys()) if (seq > this.#lastSeq) consumer.pending.delete(seq);
      } else if (draw.chance(0.4)) {
        consumer.delivered = Math.max(0, consumer.delivered - draw.between(1, 4));
        consumer.pending.clear();
      }
    }
    this.#kernel.after(downMs, () => {
      this.#runs += 1;
      this.id = `b${this.#runs}`;
      this.isUp = true;
    });
  }

  /** Hands the newest messages of a shard out a second time, though they were acked: brokers do. */
  repeat(shard: number, messages: number): void {
    const consumer = this.find(shard);
    if (consumer === undefined || consumer.delivered === 0 || consumer.pending.size > 0) return;
    consumer.delivered = Math.max(0, consumer.delivered - messages);
    this.#feed(consumer);
  }

  #ofShard(shard: number): Consumer[] {
    return this.#consumers.filter((consumer) => consumer.shard === shard);
  }

  #lose(lost: number): void {
    this.#lastSeq = Math.max(0, this.#lastSeq - lost);
    for (const stored of this.#stored) while (stored.length > 0 && (stored.at(-1)?.streamSeq ?? 0) > this.#lastSeq) stored.pop();
  }

  #hold(consumer: Consumer, streamSeq: number, forMs: number): void {
    const untilMs = this.#kernel.nowMs + forMs;
    consumer.pending.set(streamSeq, untilMs);
    this.#kernel.at(untilMs, () => {
      if (consumer.pending.get(streamSeq) === untilMs) this.#feed(consumer);
    });
  }

  #feed(consumer: Consumer): void {
    if (!this.isUp || consumer.waiting.length === 0) return;
    const next = this.#next(consumer);
    if (next === undefined) return;
    const exchange = this.#listener(consumer);
    if (exchange === undefined) return;
    consumer.delivered = Math.max(consumer.delivered, next.streamSeq);
    this.#hold(consumer, next.streamSeq, ACK_WAIT_MS);
    exchange.answer({ consumer, stored: next });
  }

  /** What is due to be handed out: a message whose time to be acked is over, or the next one. */
  #next(consumer: Consumer): Stored | undefined {
    const stored = this.#stored[consumer.shard] as Stored[];
    for (const [streamSeq, untilMs] of consumer.pending) {
      if (untilMs > this.#kernel.nowMs) {
        if (this.rules.oneAtATime) return undefined;
        continue;
      }
      const again = stored.find((item) => item.streamSeq === streamSeq);
      if (again !== undefined) return again;
      consumer.pending.delete(streamSeq);
    }
    return stored.find((item) => item.streamSeq > consumer.delivered);
  }

  /** Who waits first; a client that died is not sent anything, one that is paused is. */
  #listener(consumer: Consumer): Exchange<HandedOut | undefined> | undefined {
    for (let exchange = consumer.waiting.shift(); exchange !== undefined; exchange = consumer.waiting.shift())
      if (!exchange.isAbandoned) return exchange;
    return undefined;
  }
}
