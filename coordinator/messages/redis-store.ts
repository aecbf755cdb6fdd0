import type { Redis } from "ioredis";
import { Batches } from "#lua/core/batches";
import { changeMessages, type ChangeMessageAnswer, type MessageChange } from "#lua/message/message-change";
import { createMessages, type CreateMessageAnswer, type NewMessage } from "#lua/message/message-create";
import { MOST_MESSAGES } from "#lua/message/message-fields";
import { countMessages, listMessages, readMessages, UNREADABLE, type MessageCounts, type MessageList } from "#lua/message/message-read";
import { claimMessages, type PutOff } from "#lua/message/message-claim";
import { notePlacement, type PlacementNotes } from "#lua/message/message-placement";
import { pullMessages } from "#lua/message/message-pull";
import { purgeMessages } from "#lua/message/message-purge";
import { changeTopic, readTopic, type ChangeTopicAnswer } from "#lua/message/message-topic";
import { yieldMessage } from "#lua/message/message-yield";
import type { Clock } from "#protocol/ports";
import type { Change } from "./machine.ts";
import type { ListedMessages, TopicStore } from "./messages.ts";
import { YIELD_MS, type PlacementStore } from "./placement.ts";
import type { Claimed, Existing, MessageStore, Misplaced, StoredMessage } from "./message-ports.ts";
import { CorruptMessage, decodeRecord, encodeDefinition, encodeState, type MessageRecord } from "./record.ts";

interface Writes {
  readonly create: Batches<NewMessage, CreateMessageAnswer>;
  readonly change: Batches<MessageChange, ChangeMessageAnswer>;
}

/** Messages, their placement and topics on the shards' Redis servers. */
export class RedisMessageStore implements MessageStore, PlacementStore, ListedMessages, TopicStore {
  readonly #redis: readonly Redis[];
  readonly #writes: readonly Writes[];
  readonly #clock: Clock;
  /** Redis's clock minus ours, by shard: set by every answer that carries the time */
  readonly #aheadMs = new Map<number, number>();

  /** @param redis the connection of shard N is the N-th */
  constructor(redis: readonly Redis[], clock: Clock) {
    this.#redis = redis;
    this.#writes = redis.map((connection, shard) => ({
      create: new Batches((messages) => createMessages(connection, { shard, messages }), MOST_MESSAGES),
      change: new Batches((changes) => changeMessages(connection, { shard, changes }), MOST_MESSAGES),
    }));
    this.#clock = clock;
  }

  #of(shard: number): Redis {
    const redis = this.#redis[shard];
    if (redis === undefined) throw new Error(`there is no shard ${shard}`);
    return redis;
  }

  #writesTo(shard: number): Writes {
    const writes = this.#writes[shard];
    if (writes === undefined) throw new Error(`there is no shard ${shard}`);
    return writes;
  }

  #heard(shard: number, nowMs: number): void {
    this.#aheadMs.set(shard, nowMs - this.#clock.monotonicMs());
  }

  async nowMs(shard: number): Promise<number> {
    const ahead = this.#aheadMs.get(shard);
    if (ahead !== undefined) return Math.round(this.#clock.monotonicMs() + ahead);
    const [seconds, micros] = (await this.#of(shard).time()) as unknown as [number | string, number | string];
    this.#heard(shard, Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000));
    return this.nowMs(shard);
  }

  async create(shard: number, gid: string, change: Change, untilMs: number): Promise<{ readonly status: "ok" } | Misplaced | Existing> {
    const { record, dueAtMs } = change;
    if (typeof dueAtMs !== "number") throw new Error(`message ${gid}: a new one must be due`);
    const answer = await this.#writesTo(shard).create.add({
      gid,
      createdAtMs: record.createdAtMs,
      dueAtMs,
      state: encodeState(record),
      definition: encodeDefinition(record.definition),
      untilMs,
    });
    return answer.status === "exists" ? { status: "exists", record: decodeRecord(gid, answer.fields) } : answer;
  }

  async yield(shard: number, gid: string, count: number): Promise<{ readonly status: "ok" } | Misplaced | Existing> {
    const answer = await yieldMessage(this.#of(shard), { shard, gid, count, holdMs: YIELD_MS });
    return answer.status === "exists" ? { status: "exists", record: decodeRecord(gid, answer.fields) } : answer;
  }

  async change(
    shard: number,
    gid: string,
    before: MessageRecord,
    change: Change,
  ): Promise<{ readonly status: "ok" } | { readonly status: "changed"; readonly record: MessageRecord | undefined }> {
    const { record } = change;
    const answer = await this.#writesTo(shard).change.add({
      gid,
      version: before.version,
      dueAtMs: change.dueAtMs,
      deadAtMs: change.deadAtMs,
      expiresAtMs: change.expiresAtMs,
      state: encodeState(record),
      definition: record.definition === before.definition ? "" : encodeDefinition(record.definition),
      reason: record.reason,
    });
    if (answer.status === "ok") return answer;
    return { status: "changed", record: answer.fields === undefined ? undefined : decodeRecord(gid, answer.fields) };
  }

  async read(shard: number, gids: readonly string[]): Promise<readonly (StoredMessage | CorruptMessage | undefined)[]> {
    const messages = await readMessages(this.#of(shard), { shard, gids });
    return messages.map((message, i) => {
      const gid = gids[i] as string;
      if (message === undefined) return undefined;
      if (message === UNREADABLE) return new CorruptMessage(`message ${gid}: its key holds no hash`);
      try {
        return { record: decodeRecord(gid, message.fields), dueAtMs: message.dueAtMs };
      } catch (error) {
        if (error instanceof CorruptMessage) return error;
        throw error;
      }
    });
  }

  async claim(shard: number, limit: number, holdMs: number, putOff?: PutOff): Promise<Claimed> {
    const { nowMs, gids } = await claimMessages(this.#of(shard), { shard, limit, holdMs, putOff });
    this.#heard(shard, nowMs);
    return { gids, dueAgainMs: nowMs + holdMs };
  }

  purge(shard: number, limit: number): Promise<number> {
    return purgeMessages(this.#of(shard), { shard, limit });
  }

  pull(shard: number, laterThanMs: number, limit: number): Promise<{ readonly pulled: number; readonly left: number }> {
    return pullMessages(this.#of(shard), { shard, laterThanMs, limit });
  }

  list(shard: number, list: MessageList, fromMs: number, offset: number, count: number): Promise<readonly string[]> {
    return listMessages(this.#of(shard), { shard, list, fromMs, offset, count });
  }

  count(shard: number): Promise<MessageCounts> {
    return countMessages(this.#of(shard), shard);
  }

  async notePlacement(shard: number, count: number, marginMs: number): Promise<PlacementNotes> {
    const notes = await notePlacement(this.#of(shard), { shard, count, marginMs });
    this.#heard(shard, notes.nowMs);
    return notes;
  }

  readTopic(topic: string): Promise<string> {
    return readTopic(this.#of(0), topic);
  }

  changeTopic(topic: string, expected: string, value: string): Promise<ChangeTopicAnswer> {
    return changeTopic(this.#of(0), { topic, expected, value });
  }
}
