import { z } from "zod";
import { enumOr } from "../unknown.ts";

export const RequestError = {
  badRequest: "bad_request",
  notFound: "not_found",
  conflict: "conflict",
  /** the facts changed since they were read, or another attempt took over */
  overtaken: "overtaken",
  /** a store did not answer; the outcome may be unknown, all requests can be repeated */
  unavailable: "unavailable",
} as const;
export type RequestError = (typeof RequestError)[keyof typeof RequestError];

/** What a worker replies to a request, as JSON. */
export type Reply<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: RequestError; readonly detail: string };

const refusalSchema = z.object({
  ok: z.literal(false),
  /** a code of a later version: the outcome is not known here, and asking again is safe */
  code: enumOr(RequestError, RequestError.unavailable),
  detail: z.string(),
});

/** A worker said something that is not in the protocol: a fault, ours or of another version. */
export class UnreadableReply extends Error {
  override readonly name = "UnreadableReply";
}

/** A worker replied that it could not: the code says why. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: RequestError;

  constructor(subject: string, code: RequestError, detail: string) {
    super(`${subject}: ${code}: ${detail}`);
    this.code = code;
  }
}

/**
 * Reads a reply, with what a later version has added to it left out.
 * @throws UnreadableReply
 */
export const readReply = <T extends z.ZodType>(subject: string, value: T, data: Uint8Array): Reply<z.output<T>> => {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data));
  } catch (error) {
    throw new UnreadableReply(`${subject}: the reply is not JSON`, { cause: error });
  }
  const parsed = z.discriminatedUnion("ok", [z.object({ ok: z.literal(true), value }), refusalSchema]).safeParse(json);
  if (!parsed.success) throw new UnreadableReply(`${subject}: ${parsed.error.message}`);
  return parsed.data as Reply<z.output<T>>;
};
