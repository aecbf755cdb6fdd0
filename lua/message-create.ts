import { messageKey, messageKeys } from "./keys.ts";
import { loadScript, type ScriptRedis } from "./script.ts";

export const messageCreateScript = loadScript("message-create");

/** A message as its hash holds it; only coordinator/messages/record.ts reads the meaning. */
export type MessageFields = Readonly<Record<string, string>>;

/** HGETALL's flat answer as an object; undefined if it is empty. */
export const messageFields = (flat: readonly string[]): MessageFields | undefined => {
  if (flat.length === 0) return undefined;
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] as string] = flat[i + 1] as string;
  return fields;
};

export interface CreateMessage {
  readonly shard: number;
  readonly gid: string;
  /** both in ms of Redis's clock */
  readonly createdAtMs: number;
  readonly dueAtMs: number;
  readonly fields: MessageFields;
}

export type CreateMessageAnswer = { readonly status: "ok" } | { readonly status: "exists"; readonly fields: MessageFields };

/** Stores a message unless there is one of that gid, which is then the answer. */
export const createMessage = async (redis: ScriptRedis, request: CreateMessage): Promise<CreateMessageAnswer> => {
  const keys = messageKeys(request.shard);
  const reply = await messageCreateScript.run(
    redis,
    [messageKey(request.shard, request.gid), keys.due, keys.messages, keys.finished],
    [request.gid, request.createdAtMs, request.dueAtMs, ...Object.entries(request.fields).flat()],
  );
  if (reply === "ok") return { status: "ok" };
  return { status: "exists", fields: messageFields(reply as string[]) ?? {} };
};
