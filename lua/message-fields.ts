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

/** HGETALL's flat answer; undefined if it is empty. */
export const messageFields = (flat: readonly string[]): MessageFields | undefined => {
  if (flat.length === 0) return undefined;
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] as string] = flat[i + 1] as string;
  return { v: "", s: "", d: "", ...fields };
};

/** Messages that one call of a script takes: 256 of them keep Redis for about two milliseconds. */
export const MOST_MESSAGES = 256;
