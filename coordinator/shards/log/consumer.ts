import { AckPolicy, DeliverPolicy, nanos, ReplayPolicy, type ConsumerConfig, type ConsumerInfo, type JetStreamManager } from "nats";
import { LOG_STREAM, logSubject } from "#protocol/subjects";
import type { LogHealth } from "../relay/relay-ports.ts";
import { jetStreamCode, JetStreamError } from "./errors.ts";

/** A record that a worker holds longer than this is delivered again. */
const ACK_WAIT_MS = 10_000;

/**
 * One record at a time, again and again until it is acked: order is what the worker lives on. The description holds the
 * run of the broker that the consumer was made on (see `isSound`).
 */
const wanted = (shard: number, brokerId: string): Partial<ConsumerConfig> => ({
  description: brokerId,
  filter_subject: logSubject(shard),
  deliver_policy: DeliverPolicy.All,
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(ACK_WAIT_MS),
  max_deliver: -1,
  max_ack_pending: 1,
  replay_policy: ReplayPolicy.Instant,
});

/**
 * Whether a consumer can be trusted with a stream that ends at `lastSeq`. One that was delivered more than there is skips
 * the re-used sequence numbers and reports nothing pending; after a restart of the broker it may look right and yet be
 * ahead of what was lost, so only one made on this run counts (DESIGN 7.2). Read the consumer before the stream:
 * otherwise what was delivered in between looks ahead.
 */
export const isSound = (consumer: ConsumerInfo, shard: number, brokerId: string, lastSeq: number): boolean =>
  consumer.delivered.stream_seq <= lastSeq &&
  Object.entries(wanted(shard, brokerId)).every(([name, value]) => consumer.config[name as keyof ConsumerConfig] === value);

/** How far a consumer is. */
export const progressOf = (consumer: ConsumerInfo): Pick<LogHealth, "consumer" | "consumedSeq" | "deliveredSeq" | "awaitsAck"> => ({
  consumer: consumer.name,
  consumedSeq: consumer.ack_floor.stream_seq,
  deliveredSeq: consumer.delivered.stream_seq,
  awaitsAck: consumer.num_ack_pending > 0,
});

export const findConsumer = async (manager: JetStreamManager, name: string): Promise<ConsumerInfo | undefined> => {
  try {
    return await manager.consumers.info(LOG_STREAM, name);
  } catch (error) {
    const code = jetStreamCode(error);
    if (code === JetStreamError.consumerNotFound || code === JetStreamError.streamNotFound) return undefined;
    throw error;
  }
};

/** This shard's consumers, the newest first. */
export const listConsumers = async (manager: JetStreamManager, shard: number): Promise<ConsumerInfo[]> => {
  const found: ConsumerInfo[] = [];
  try {
    for await (const consumer of manager.consumers.list(LOG_STREAM))
      if (consumer.config.filter_subject === logSubject(shard)) found.push(consumer);
  } catch (error) {
    if (jetStreamCode(error) !== JetStreamError.streamNotFound) throw error;
  }
  return found.sort((a, b) => (a.created < b.created ? 1 : -1));
};

/** Under a name that was never used, so that an ack meant for an old consumer cannot reach it. */
export const makeConsumer = (manager: JetStreamManager, shard: number, brokerId: string, nonce: string): Promise<ConsumerInfo> =>
  manager.consumers.add(LOG_STREAM, { durable_name: `shard-${shard}-${nonce}`, ...wanted(shard, brokerId) });

export const deleteConsumer = async (manager: JetStreamManager, name: string): Promise<void> => {
  try {
    await manager.consumers.delete(LOG_STREAM, name);
  } catch (error) {
    if (jetStreamCode(error) !== JetStreamError.consumerNotFound) throw error;
  }
};
