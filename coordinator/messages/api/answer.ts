import { DtmResult } from "../dtm-result.ts";
import type { EventReply } from "../machine.ts";
import type { MessageRecord } from "../record.ts";

export interface ApiAnswer {
  readonly status: 200 | 400 | 401 | 403 | 404 | 409 | 413 | 425 | 500;
  readonly body: Readonly<Record<string, unknown>>;
}

export const success: ApiAnswer = { status: 200, body: { dtm_result: DtmResult.success } };
export const failed = (status: ApiAnswer["status"], message: string, more: Readonly<Record<string, unknown>> = {}): ApiAnswer => ({
  status,
  body: { dtm_result: DtmResult.failure, message, ...more },
});

/**
 * What a caller hears of an event. A conflict also says the state that stands: our client need not ask for it.
 * dtm's clients look at the status and for the word FAILURE in the body.
 */
export const answerTo = (reply: EventReply, record: MessageRecord | undefined): ApiAnswer => {
  if (reply.code === "ok") return success;
  if (reply.code === "unknown") return failed(404, "no such gid");
  return failed(409, `${reply.message}. ${DtmResult.failure}`, record === undefined ? {} : { status: record.state });
};
