import { ErrorCode, NatsError, type JetStreamClient, type JetStreamManager, type StoredMsg } from "nats";
import { decodeLogRecord, encodeLogRecord, type LogRecord } from "#protocol/log-record";
import type { Random } from "#protocol/ports";
import { consumerHint, LOG_STREAM, logSubject } from "#protocol/subjects";
import type { AppendAnswer, LastEntry, LogHealth, ShardLog } from "../relay/relay-ports.ts";
import type { Broker } from "./broker.ts";
import { deleteConsumer, findConsumer, isSound, listConsumers, makeConsumer, progressOf } from "./consumer.ts";
import { jetStreamCode, JetStreamError } from "./errors.ts";
import { verifyStream } from "./stream.ts";

/** An append that took longer may have been stored; it is done again. */
const APPEND_TIMEOUT_MS = 2_000;
/** Looking back from the last record: ignored markers come singly, other shards' records lie between. */
const LOOK_BACK_RECORDS = 256;

export interface ShardLogOptions {
  readonly shard: number;
  /** shards that share the log's bytes */
  readonly shards: number;
  readonly maxBytes: number;
  readonly broker: Broker;
  readonly random: Random;
}

/** The client itself refuses what is above the `max_payload` of the broker that it is connected to; a stream has a bound, too. */
const isTooLarge = (error: unknown): boolean =>
  (error instanceof NatsError && error.code === (ErrorCode.MaxPayloadExceeded as string)) ||
  jetStreamCode(error) === JetStreamError.messageTooLarge;

const append = async (client: JetStreamClient, subject: string, record: LogRecord): Promise<AppendAnswer> => {
  const bytes = encodeLogRecord(record);
  try {
    const ack = await client.publish(subject, bytes, { timeout: APPEND_TIMEOUT_MS, expect: { streamName: LOG_STREAM } });
    return { status: "stored", streamSeq: ack.seq, bytes: bytes.byteLength };
  } catch (error) {
    if (jetStreamCode(error) === JetStreamError.storeFailed) return { status: "full" };
    if (isTooLarge(error)) return { status: "too_large", bytes: bytes.byteLength };
    throw error;
  }
};

const getMessage = async (manager: JetStreamManager, query: { last_by_subj: string } | { seq: number }): Promise<StoredMsg | undefined> => {
  try {
    return await manager.streams.getMessage(LOG_STREAM, query);
  } catch (error) {
    const code = jetStreamCode(error);
    if (code === JetStreamError.messageNotFound || code === JetStreamError.streamNotFound) return undefined;
    throw error;
  }
};

const lastEntry = async (manager: JetStreamManager, subject: string, epoch: number): Promise<LastEntry | undefined> => {
  let stored = await getMessage(manager, { last_by_subj: subject });
  if (stored === undefined) return undefined;
  const newest = stored.seq;
  for (let seq = newest; seq > 0 && seq > newest - LOOK_BACK_RECORDS; seq -= 1) {
    if (seq !== newest) stored = await getMessage(manager, { seq });
    if (stored?.subject !== subject) continue;
    const record = decodeLogRecord(stored.data);
    if (record?.type !== "entries") continue;
    if (record.epoch === epoch) return { streamSeq: seq, seq: record.entries.at(-1)?.seq ?? 0 };
  }
  return undefined;
};

/** The log of a shard on JetStream. */
export const createShardLog = (options: ShardLogOptions): ShardLog => {
  const { shard, broker, maxBytes, random } = options;
  const { connection, client, manager } = broker;
  const subject = logSubject(shard);
  let consumerName = "";

  const verifyConsumer = async (brokerId: string): Promise<LogHealth> => {
    const held = consumerName === "" ? undefined : await findConsumer(manager, consumerName);
    const { state } = await verifyStream(manager, maxBytes);
    const lastSeq = state.last_seq;
    if (held !== undefined && isSound(held, shard, brokerId, lastSeq)) return { brokerId, lastSeq, ...progressOf(held) };
    const found = await listConsumers(manager, shard);
    const { state: after } = await verifyStream(manager, maxBytes);
    const sound = found.find((consumer) => isSound(consumer, shard, brokerId, after.last_seq));
    const consumer = sound ?? (await makeConsumer(manager, shard, brokerId, random.nonce()));
    for (const other of found) if (other.name !== consumer.name) await deleteConsumer(manager, other.name);
    if (sound === undefined || found.length > 1) connection.publish(consumerHint(shard));
    consumerName = consumer.name;
    return { brokerId, lastSeq: after.last_seq, ...progressOf(consumer) };
  };

  return {
    purgeAtBytes: maxBytes / 4 / options.shards,
    brokerId: () => broker.id(),
    payloadBytes: () => connection.info?.max_payload ?? Number.POSITIVE_INFINITY,
    append: (record) => append(client, subject, record),
    lastEntry: (epoch) => lastEntry(manager, subject, epoch),
    verify: async () => {
      const brokerId = broker.id();
      if (brokerId === "") throw new Error("not connected to the broker");
      const health = await verifyConsumer(brokerId);
      if (broker.id() !== brokerId) throw new Error("the broker restarted while the log was looked at");
      return health;
    },
    purge: async (beforeStreamSeq) => {
      await manager.streams.purge(LOG_STREAM, { filter: subject, seq: beforeStreamSeq });
    },
  };
};
