import { isMoment, isoTime } from "#protocol/iso-time";
import type { FoundMessage } from "../messages.ts";
import { MessageState } from "../record.ts";

/** A record holds no other times than those of which a date can be made (record.ts). */
const time = (ms: number): string => isoTime(ms) ?? "";

/** A message as dtm's `query` and `all` show it. */
export const messageView = ({ gid, record, dueAtMs }: FoundMessage): Record<string, unknown> => {
  const { definition, state } = record;
  return {
    id: 0,
    create_time: time(record.createdAtMs),
    update_time: time(record.updatedAtMs),
    gid,
    trans_type: "msg",
    steps: definition.steps.map((action) => ({ action })),
    status: state,
    query_prepared: definition.queryUrl,
    protocol: "http",
    ...(state === MessageState.succeed ? { finish_time: time(record.finishedAtMs) } : {}),
    ...(state === MessageState.failed ? { rollback_time: time(record.finishedAtMs), rollback_reason: record.reason } : {}),
    custom_data: definition.customData,
    ...(dueAtMs === undefined || !isMoment(dueAtMs) ? {} : { next_cron_time: time(dueAtMs) }),
    wait_result: definition.waitResult,
    timeout_to_fail: definition.timeoutToFailMs / 1_000,
    request_timeout: definition.requestTimeoutMs / 1_000,
    retry_interval: definition.retryIntervalMs / 1_000,
    branch_headers: definition.branchHeaders,
    concurrent: definition.concurrent,
    retry_count: record.rounds,
    dead: record.dead,
    last_error: state === MessageState.failed ? "" : record.reason,
  };
};

export const branchViews = ({ gid, record }: FoundMessage): readonly Record<string, unknown>[] =>
  record.definition.branches.map((branch, i) => {
    const doneAtMs = record.branchDoneAtMs[i] ?? 0;
    return {
      id: 0,
      create_time: time(record.createdAtMs),
      update_time: time(doneAtMs || record.updatedAtMs),
      gid,
      url: branch.url,
      // Go writes a []byte as base64
      bin_data: Buffer.from(branch.payload).toString("base64"),
      branch_id: branch.branchId,
      op: "action",
      status: doneAtMs > 0 ? MessageState.succeed : MessageState.prepared,
      ...(doneAtMs > 0 ? { finish_time: time(doneAtMs) } : {}),
    };
  });
