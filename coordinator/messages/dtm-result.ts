/** dtm's result words. */
export const DtmResult = { success: "SUCCESS", failure: "FAILURE", ongoing: "ONGOING" } as const;
export type DtmResult = (typeof DtmResult)[keyof typeof DtmResult];

/**
 * The most that is read of an answer that says yes. A longer one is no answer, because what it says is not known; dtm's have
 * some tens of bytes.
 */
export const ANSWER_BYTES_MOST = 256 << 10;

/** The status that says the same as a word. */
const STATUSES: ReadonlyMap<string, number> = new Map([
  [DtmResult.failure, 409],
  [DtmResult.ongoing, 425],
]);

/**
 * What an answer says, as a status. Clients of dtm that are older than its status codes say no by a 200 whose JSON object has
 * `dtm_result` FAILURE or ONGOING. Exactly these words in exactly this field count, whatever the content type: a word anywhere
 * else in a body is somebody's text. Of a field that is there twice the last one counts, as JSON.parse and Go have it.
 * @param json the body, if it is JSON
 */
export const statusSaid = (status: number, json: unknown): number => {
  if (status < 200 || status >= 300 || typeof json !== "object" || json === null || Array.isArray(json)) return status;
  const word: unknown = (json as Readonly<Record<string, unknown>>)["dtm_result"];
  return (typeof word === "string" ? STATUSES.get(word) : undefined) ?? status;
};

/** A byte order mark is left out: whoever writes one means the JSON behind it. */
const decoder = new TextDecoder();

/** @returns undefined if it is not JSON */
export const jsonOf = (body: Uint8Array): unknown => {
  // most answers are empty, and an exception costs more than all else here
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(decoder.decode(body));
  } catch {
    return undefined;
  }
};
