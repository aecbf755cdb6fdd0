import { recordIds, type Tracing } from "#program/tracing/tracing";
import type { LogRecord } from "#protocol/log-record";
import type { ShardLog } from "../relay/relay-ports.ts";

/**
 * The log with a span for each record that carries a sampled order, linked with its purchase's span. Only who traces has it
 * in between.
 */
export const tracedLog = (shard: number, log: ShardLog, tracing: Tracing): ShardLog => ({
  ...log,
  append: async (record: LogRecord) => {
    if (record.type !== "entries") return log.append(record);
    const { epoch, entries } = record;
    const orders = tracing.sampledOrders(shard, epoch, entries);
    if (orders.length === 0) return log.append(record);
    const startMs = tracing.nowMs();
    const answer = await log.append(record);
    const lastSeq = entries.at(-1)?.seq ?? 0;
    const attributes = {
      "doorbuster.shard": shard,
      "doorbuster.epoch": epoch,
      "doorbuster.seq": lastSeq,
      "doorbuster.entries": entries.length,
      "doorbuster.append": answer.status,
      ...(answer.status === "stored" ? { "doorbuster.stream_seq": answer.streamSeq } : {}),
    };
    tracing.send({ name: "append to the log", ids: recordIds(shard, epoch, lastSeq), orders, startMs, endMs: tracing.nowMs(), attributes });
    return answer;
  },
});
