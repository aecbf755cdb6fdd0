import { z } from "zod";
import { OutcomeCode } from "../buy/outcome.ts";
import { upSchema } from "./frames.ts";

const { none: _none, notFound: _notFound, originNotAllowed: _originNotAllowed, ...answers } = OutcomeCode;

const orderId = z.string().optional();
const units = z.int().min(1).optional();
const reason = z.string().optional().describe("with rejected");

/** What frames.ts writes, for the OpenAPI document: nothing reads it while the gateway runs. */
export const outcomeFrameSchema = z
  .strictObject({
    op: z.literal("outcome"),
    ref: upSchema.shape.ref,
    code: z.enum(answers),
    orderId,
    units,
    opensAt: z.iso.datetime().optional().describe("with not_open"),
    reason,
    repeat: z.literal(true).optional().describe("this purchase was made by an earlier request"),
    detail: z.string().optional().describe("a sentence for a person"),
    retryAfterMs: z.number().min(0).optional(),
  })
  .describe("the answer to one buy frame, under its ref");

export const statusFrameSchema = z
  .strictObject({
    op: z.literal("status"),
    code: z.enum(answers).extract(["confirmed", "rejected", "notSurvived"]),
    orderId,
    units,
    reason,
  })
  .describe(
    "one of the buyer's orders became final, wherever it was bought; or one that was bought here was lost in a fail-over: buy again",
  );

export const errorFrameSchema = z
  .strictObject({ op: z.literal("error"), code: z.enum(["bad_request", "too_large"]), detail: z.string() })
  .describe("a frame that is not understood; the third closes with 1008");
