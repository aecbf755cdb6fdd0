import { messageKey, messageKeys } from "../core/keys.ts";
import { messageFields, type MessageFields } from "./message-fields.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageChangeScript = loadScript("message-change", import.meta.url);

export interface MessageChange {
  readonly gid: string;
  /** the version that was read; the change stores the next one */
  readonly version: number;
  /** all times in ms of Redis's clock */
  readonly dueAtMs: number | "keep" | "none";
  readonly deadAtMs: number | "keep" | "none";
  /** when the finished record goes; `never` while it is not finished */
  readonly expiresAtMs: number | "never";
  readonly state: string;
  /** empty: as it was */
  readonly definition: string;
  /** of the last failure; empty: there is none */
  readonly reason: string;
}

export type ChangeMessageAnswer =
  | { readonly status: "ok" }
  /** what is there instead of `version`; undefined if there is no such message */
  | { readonly status: "changed"; readonly fields: MessageFields | undefined };

const ok = { status: "ok" } as const;

/** Changes each message if it still has the version that was read. At most 256 a call; repeating it after a lost answer is safe. */
export const changeMessages = async (
  redis: ScriptRedis,
  { shard, changes }: { readonly shard: number; readonly changes: readonly MessageChange[] },
): Promise<readonly ChangeMessageAnswer[]> => {
  const keys = messageKeys(shard);
  const replies = await messageChangeScript.run(
    redis,
    [keys.due, keys.finished, keys.dead, ...changes.map(({ gid }) => messageKey(shard, gid))],
    changes.flatMap((change) => [
      change.gid,
      change.version,
      change.dueAtMs,
      change.deadAtMs,
      change.expiresAtMs,
      change.state,
      change.definition,
      change.reason,
    ]),
  );
  return (replies as (0 | string[])[]).map((reply) => (reply === 0 ? ok : { status: "changed", fields: messageFields(reply) }));
};
