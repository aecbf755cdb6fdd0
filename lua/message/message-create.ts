import { messageKey, messageKeys } from "../core/keys.ts";
import { thereAlready, type ThereAlready } from "./message-fields.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageCreateScript = loadScript("message-create", import.meta.url);

export interface NewMessage {
  readonly gid: string;
  /** both in ms of Redis's clock */
  readonly createdAtMs: number;
  readonly dueAtMs: number;
  readonly state: string;
  readonly definition: string;
  /** until when its place is known to be right, ms of Redis's clock */
  readonly untilMs: number;
}

export type CreateMessageAnswer = { readonly status: "ok" } | { readonly status: "late" } | ThereAlready;

const ok = { status: "ok" } as const;
const late = { status: "late" } as const;

/** Stores each message unless there is one of that gid, which is then the answer. At most 256 a call; repeating it is safe. */
export const createMessages = async (
  redis: ScriptRedis,
  { shard, messages }: { readonly shard: number; readonly messages: readonly NewMessage[] },
): Promise<readonly CreateMessageAnswer[]> => {
  const keys = messageKeys(shard);
  const replies = await messageCreateScript.run(
    redis,
    [keys.due, keys.messages, keys.finished, ...messages.map(({ gid }) => messageKey(shard, gid))],
    messages.flatMap(({ gid, createdAtMs, dueAtMs, state, definition, untilMs }) => [
      gid,
      createdAtMs,
      dueAtMs,
      state,
      definition,
      untilMs,
    ]),
  );
  return (replies as (0 | 1 | string[])[]).map((reply) => (reply === 0 ? ok : reply === 1 ? late : thereAlready(reply)));
};
