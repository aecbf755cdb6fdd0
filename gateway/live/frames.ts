import { z } from "zod";
import { ID_PATTERN } from "#protocol/ids";
import { issuesText } from "#protocol/zod-issues";
import type { Outcome } from "../buy/outcome.ts";
import { outcomeDetail, outcomeFields } from "../http/problem.ts";

/** What a buyer may send: `{"op":"buy","ref":...,"units":1,"key":""}`; `ref` comes back in the answer. */
export const upSchema = z.strictObject({
  op: z.literal("buy"),
  ref: z.union([z.string().max(64), z.int()]),
  units: z.int().min(1).max(1_000).default(1),
  key: z.union([z.literal(""), z.string().regex(ID_PATTERN)]).default(""),
});
export type UpFrame = Readonly<z.infer<typeof upSchema>>;

/** A buy frame is some 60 bytes. */
export const MAX_FRAME_BYTES = 1_024;

/** @returns what is wrong with it, as a sentence, or the frame */
export const readFrame = (text: string): UpFrame | string => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "The frame is not JSON.";
  }
  const result = upSchema.safeParse(value);
  if (result.success) return result.data;
  return issuesText(result.error, "frame");
};

const refusalFields = (outcome: Outcome): Record<string, unknown> =>
  outcome.orderId === undefined || outcome.code === "rejected"
    ? { detail: outcomeDetail(outcome), ...(outcome.retryAfterMs === undefined ? {} : { retryAfterMs: outcome.retryAfterMs }) }
    : {};

/** The answer to one buy frame. */
export const outcomeFrame = (ref: UpFrame["ref"], outcome: Outcome): string =>
  JSON.stringify({
    op: "outcome",
    ref,
    ...outcomeFields(outcome),
    ...(outcome.repeat === true ? { repeat: true } : {}),
    ...refusalFields(outcome),
  });

/** A change of one of the buyer's orders, wherever it was bought. */
export const statusFrame = (outcome: Outcome): string => JSON.stringify({ op: "status", ...outcomeFields(outcome) });

/** A frame that could not be understood; there is no `ref` to answer to. */
export const errorFrame = (code: "bad_request" | "too_large", detail: string): string => JSON.stringify({ op: "error", code, detail });
