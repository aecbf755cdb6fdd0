import { messageKey, messageKeys } from "./keys.ts";
import { messageFields, type MessageFields } from "./message-create.ts";
import { loadScript, type ScriptRedis } from "./script.ts";

export const messageChangeScript = loadScript("message-change");

export interface ChangeMessage {
  readonly shard: number;
  readonly gid: string;
  /** the version that was read */
  readonly version: number;
  /** all times in ms of Redis's clock */
  readonly dueAtMs: number | "keep" | "none";
  readonly deadAtMs: number | "keep" | "none";
  /** when the finished record goes; `never` while it is not finished */
  readonly expiresAtMs: number | "never";
  /** to be set; must hold `v`, the new version */
  readonly fields: MessageFields;
}

export type ChangeMessageAnswer =
  | { readonly status: "ok" }
  /** what is there instead of `version`; undefined if there is no such message */
  | { readonly status: "changed"; readonly fields: MessageFields | undefined };

/** Changes a message if it still has the version that was read. Repeating it after a lost answer is safe. */
export const changeMessage = async (redis: ScriptRedis, request: ChangeMessage): Promise<ChangeMessageAnswer> => {
  const keys = messageKeys(request.shard);
  const reply = await messageChangeScript.run(
    redis,
    [messageKey(request.shard, request.gid), keys.due, keys.finished, keys.dead],
    [request.gid, request.version, request.dueAtMs, request.deadAtMs, request.expiresAtMs, ...Object.entries(request.fields).flat()],
  );
  return reply === "ok" ? { status: "ok" } : { status: "changed", fields: messageFields(reply as string[]) };
};
