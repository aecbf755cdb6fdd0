import type { Redis } from "ioredis";
import { messageKey, messageKeys } from "../core/keys.ts";
import type { MessageFields } from "./message-fields.ts";

/** One message with the time it is due, ms of Redis's clock; undefined while it waits for nothing. */
export interface ReadMessage {
  readonly fields: MessageFields;
  readonly dueAtMs: number | undefined;
}

/** Under a message's key there is something else than a hash. */
export const UNREADABLE = "unreadable";

const isOfAnotherType = (error: Error | null | undefined): boolean => error?.message.startsWith("WRONGTYPE") === true;

/** Reads messages in one round trip, in the order asked for; undefined for one that is not there. */
export const readMessages = async (
  redis: Redis,
  { shard, gids }: { shard: number; gids: readonly string[] },
): Promise<readonly (ReadMessage | typeof UNREADABLE | undefined)[]> => {
  if (gids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const gid of gids) pipeline.hgetall(messageKey(shard, gid)).zscore(messageKeys(shard).due, gid);
  const replies = (await pipeline.exec()) ?? [];
  return gids.map((_, i) => {
    const [error, fields] = replies[2 * i] ?? [new Error("no answer"), undefined];
    const [scoreError, score] = replies[2 * i + 1] ?? [new Error("no answer"), undefined];
    if (isOfAnotherType(error)) return UNREADABLE;
    if (error !== null || scoreError !== null) throw error ?? scoreError;
    // no `v`: there is none, or the note of message-yield
    if ((fields as Partial<MessageFields>).v === undefined) return undefined;
    return { fields: fields as MessageFields, dueAtMs: score === null ? undefined : Number(score) };
  });
};

/** The lists that can be read page by page. */
export const MessageList = { messages: "messages", dead: "dead" } as const;
export type MessageList = (typeof MessageList)[keyof typeof MessageList];

/** Gids of a list, oldest first, from the `offset`-th whose time is at or after `fromMs`. */
export const listMessages = (
  redis: Redis,
  request: { shard: number; list: MessageList; fromMs: number; offset: number; count: number },
): Promise<string[]> =>
  redis.zrangebyscore(messageKeys(request.shard)[request.list], request.fromMs, "+inf", "LIMIT", request.offset, request.count);

export interface MessageCounts {
  readonly waiting: number;
  readonly dead: number;
  readonly all: number;
}

export const countMessages = async (redis: Redis, shard: number): Promise<MessageCounts> => {
  const keys = messageKeys(shard);
  const [waiting, dead, all] = await Promise.all([redis.zcard(keys.due), redis.zcard(keys.dead), redis.zcard(keys.messages)]);
  return { waiting, dead, all };
};
