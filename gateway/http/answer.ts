import { STATUS_CODES } from "node:http";

/**
 * A whole answer, made once and sent often: bytes go to uWebSockets.js faster than strings, and an ArrayBuffer faster
 * than a view of one.
 */
export interface Answer {
  /** `<status> <reason>` and the header lines, joined by CR LF */
  readonly head: ArrayBuffer;
  /** undefined: a status that has no body (304) */
  readonly body: ArrayBuffer | undefined;
}

/** node's, but for the name that RFC 9110 gave 413. */
const REASON_PHRASES: Readonly<Record<number, string | undefined>> = { ...STATUS_CODES, 413: "Content Too Large" };

const NAME = /^[A-Za-z0-9-]+$/;
const VALUE = /^[\x20-\x7e]*$/;

/**
 * Each header as CR LF and its line. uWebSockets.js writes header values as they come, and CR LF in one would split the
 * answer.
 * @throws TypeError for a name or value that is not plain printable ASCII
 */
export const headerLines = (headers: Readonly<Record<string, string>>): string => {
  let text = "";
  for (const [name, value] of Object.entries(headers)) {
    if (!NAME.test(name) || !VALUE.test(value)) throw new TypeError(`header ${JSON.stringify(name)} has a forbidden character`);
    text += `\r\n${name}: ${value}`;
  }
  return text;
};

/** No answer of ours is a page, and none may be guessed to be one. */
const SECURITY = { "X-Content-Type-Options": "nosniff" } as const;

/**
 * Status line and headers as one text: uWebSockets.js writes the status as it comes, so all static headers go in one
 * call (four calls more cost 1 us an answer).
 * @throws TypeError for a header that is not plain printable ASCII
 */
export const headText = (status: number, headers: Readonly<Record<string, string>>): string =>
  `${status} ${REASON_PHRASES[status] ?? "Unknown"}${headerLines({ ...headers, ...SECURITY })}`;

/** A copy of its own: a Buffer may be a part of a larger one. */
export const bytesOf = (text: string | Buffer): ArrayBuffer => Uint8Array.from(Buffer.from(text)).buffer;

export const makeAnswer = (status: number, headers: Readonly<Record<string, string>>, body: string | undefined): Answer => ({
  head: bytesOf(headText(status, headers)),
  body: body === undefined ? undefined : bytesOf(body),
});
