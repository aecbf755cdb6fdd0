import type { z } from "zod";
import { answerSchema, type Answer } from "#protocol/requests";

/** A worker said something that is not in the protocol: a fault, ours or of another version. */
export class UnreadableAnswer extends Error {
  override readonly name = "UnreadableAnswer";
}

/** @throws UnreadableAnswer */
export const readAnswer = <T extends z.ZodType>(subject: string, value: T, data: Uint8Array): Answer<z.output<T>> => {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data));
  } catch (error) {
    throw new UnreadableAnswer(`${subject}: the answer is not JSON`, { cause: error });
  }
  const parsed = answerSchema(value).safeParse(json);
  if (!parsed.success) throw new UnreadableAnswer(`${subject}: ${parsed.error.message}`);
  return parsed.data as Answer<z.output<T>>;
};

/** A worker answered that it could not: the code says why. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;

  constructor(subject: string, code: string, detail: string) {
    super(`${subject}: ${code}: ${detail}`);
    this.code = code;
  }
}
