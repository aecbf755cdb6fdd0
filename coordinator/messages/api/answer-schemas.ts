import { z } from "zod";
import { DtmResult } from "../dtm-result.ts";
import { MessageState } from "../record.ts";
import { gidSchema } from "./message-schemas.ts";

export const stateSchema = z.enum(MessageState);
export const successSchema = z.strictObject({ dtm_result: z.literal(DtmResult.success) });
export const failureSchema = z.strictObject({
  dtm_result: z.literal(DtmResult.failure),
  message: z.string(),
  status: stateSchema.optional().meta({ description: "409: the state that stands" }),
});
export const ongoingSchema = z.strictObject({ dtm_result: z.literal(DtmResult.ongoing), message: z.string() });
export const faultSchema = z.strictObject({ message: z.string() });

export const versionSchema = z.strictObject({ version: z.string() });
export const newGidSchema = z.strictObject({ gid: gidSchema, dtm_result: z.literal(DtmResult.success) });
export const bulkAnswerSchema = z.strictObject({
  dtm_result: z.literal(DtmResult.success),
  answers: z.array(
    z.strictObject({
      status: z.literal([200, 400, 404, 409, 425, 500]),
      body: z.union([successSchema, failureSchema, ongoingSchema, faultSchema]),
    }),
  ),
});

export const timeSchema = z.iso.datetime();
const numberId = z.literal(0);

export const transactionSchema = z.strictObject({
  id: numberId,
  create_time: timeSchema,
  update_time: timeSchema,
  gid: gidSchema,
  trans_type: z.literal("msg"),
  steps: z.array(z.strictObject({ action: z.string() })),
  status: stateSchema,
  query_prepared: z.string(),
  protocol: z.literal("http"),
  finish_time: timeSchema.optional(),
  rollback_time: timeSchema.optional(),
  rollback_reason: z.string().optional(),
  custom_data: z.string(),
  next_cron_time: timeSchema.optional(),
  wait_result: z.boolean(),
  timeout_to_fail: z.number().meta({ description: "seconds, as are the others" }),
  request_timeout: z.number(),
  retry_interval: z.number(),
  branch_headers: z.record(z.string(), z.string()),
  concurrent: z.boolean(),
  retry_count: z.int().meta({ description: "rounds without success" }),
  dead: z.boolean().meta({ description: "a dead letter" }),
  last_error: z.string(),
});

export const branchSchema = z.strictObject({
  id: numberId,
  create_time: timeSchema,
  update_time: timeSchema,
  gid: gidSchema,
  url: z.string(),
  bin_data: z.string().meta({ contentEncoding: "base64" }),
  branch_id: z.string(),
  op: z.literal("action"),
  status: z.enum({ prepared: MessageState.prepared, succeed: MessageState.succeed }),
  finish_time: timeSchema.optional(),
});

export const foundSchema = z.strictObject({ transaction: transactionSchema.nullable(), branches: z.array(branchSchema) });
export const messagesPageSchema = z.strictObject({
  transactions: z.array(transactionSchema),
  next_position: z.string().meta({ description: "empty after the last page" }),
  unreadable: z
    .array(z.string())
    .optional()
    .meta({ description: "gids of messages that are there and cannot be read: their hashes were changed by somebody else; not in dtm" }),
});
export const resetAnswerSchema = z.strictObject({ has_remaining: z.boolean(), succeed_count: z.int() });
export const pongSchema = z.strictObject({ msg: z.literal("pong") });
