/** A message as its hash holds it; only coordinator/messages/record.ts reads the meaning of `s` and `d`. */
export interface MessageFields {
  /** version, raised with every change, from 1 */
  readonly v: string;
  /** state */
  readonly s: string;
  /** definition */
  readonly d: string;
  /** reason of the last failure; missing until there is one */
  readonly e?: string;
}

/** HGETALL's flat answer; undefined if there is no message (the note of message-yield is none). */
export const messageFields = (flat: readonly string[]): MessageFields | undefined => {
  if (flat.length <= 2) return undefined;
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] as string] = flat[i + 1] as string;
  return { v: "", s: "", d: "", ...fields };
};

/** What a creator finds at a place: a message, or the number of shards by which the message is to be placed instead. */
export type ThereAlready =
  | { readonly status: "exists"; readonly fields: MessageFields }
  | { readonly status: "elsewhere"; readonly count: number };

export const thereAlready = (flat: readonly string[]): ThereAlready => {
  const fields = messageFields(flat);
  return fields === undefined ? { status: "elsewhere", count: Number(flat[1]) } : { status: "exists", fields };
};

/** Messages that one call of a script takes: 256 of them keep Redis for about two milliseconds. */
export const MOST_MESSAGES = 256;
