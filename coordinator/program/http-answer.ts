import type { Dispatcher } from "undici";

/** How much of an answer's body is read; the bound is in bytes. */
export type BodyWish =
  /** all of it: one that is larger, or breaks off, makes the call fail */
  | { readonly take: "whole"; readonly bytesMost: number }
  /** what comes up to the bound, also of a body that breaks off */
  | { readonly take: "beginning"; readonly bytesMost: number };

export class AnswerTooLargeError extends Error {
  override readonly name = "AnswerTooLargeError";
}

/** Several headers of one name are joined by a comma. */
export const headersOf = (headers: Dispatcher.ResponseData["headers"]): Record<string, string> => {
  const flatHeaders: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) if (value !== undefined) flatHeaders[name] = String(value);
  return flatHeaders;
};

/** @throws AnswerTooLargeError, and what undici throws, if all of it is wanted */
export const readBody = async (body: Dispatcher.ResponseData["body"], wish: BodyWish): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      pieces.push(piece);
      bytes += piece.length;
      // leaving the loop destroys the rest with its socket
      if (bytes > wish.bytesMost) break;
    }
  } catch (error) {
    if (wish.take === "whole") throw error;
  }
  if (bytes > wish.bytesMost && wish.take === "whole")
    throw new AnswerTooLargeError(`the answer's body has more than ${wish.bytesMost} bytes`);
  return Buffer.concat(pieces).subarray(0, wish.bytesMost);
};
