import { messageKey, messageKeys } from "./keys.ts";
import { messageFields, type MessageFields } from "./message-fields.ts";
import { loadScript, type ScriptRedis } from "./script.ts";

export const messageCreateScript = loadScript("message-create");

export interface NewMessage {
  readonly gid: string;
  /** both in ms of Redis's clock */
  readonly createdAtMs: number;
  readonly dueAtMs: number;
  readonly state: string;
  readonly definition: string;
}

export type CreateMessageAnswer = { readonly status: "ok" } | { readonly status: "exists"; readonly fields: MessageFields };

const ok = { status: "ok" } as const;

/** Stores each message unless there is one of that gid, which is then the answer. At most 256 a call; repeating it is safe. */
export const createMessages = async (
  redis: ScriptRedis,
  { shard, messages }: { readonly shard: number; readonly messages: readonly NewMessage[] },
): Promise<readonly CreateMessageAnswer[]> => {
  const keys = messageKeys(shard);
  const replies = await messageCreateScript.run(
    redis,
    [keys.due, keys.messages, keys.finished, ...messages.map(({ gid }) => messageKey(shard, gid))],
    messages.flatMap(({ gid, createdAtMs, dueAtMs, state, definition }) => [gid, createdAtMs, dueAtMs, state, definition]),
  );
  return (replies as (0 | string[])[]).map((reply) =>
    reply === 0 ? ok : { status: "exists", fields: messageFields(reply) as MessageFields },
  );
};
